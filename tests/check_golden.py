"""Replay recorded training runs through the registered trainers and compare every figure.

    python -m tests.check_golden DIRECTORY

Prints a line per .npz file with the largest relative error (in norm) of each kind, and exits
non-zero where one is above its bound: 1e-5 for losses, their parts, learning rates and logits, 1e-4
for gradients and final values. Files of methods that are not registered here are named and passed over.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY

import trainers
from tests import tiny_clip
from trainers.configuration_merge import merge

BOUNDS = {"loss": 1e-5, "parts": 1e-5, "lr": 1e-5, "logits": 1e-5, "grad": 1e-4, "final": 1e-4}


@cache
def _backbone(folder: str, kind: str, seed: int) -> Path:
    return tiny_clip.write(Path(folder), kind, seed)


def _configure(meta: Mapping[str, Any], backbone: Path, output: Path):
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    cfg.TRAINER.NAME = meta["trainer"]
    cfg.MODEL.BACKBONE.NAME = str(backbone)
    cfg.OUTPUT_DIR = str(output)
    cfg.USE_CUDA = False
    size = tiny_clip.SIZES[meta["clip"]["kind"]]["image_resolution"]
    cfg.INPUT.SIZE = (size, size)
    for key, value in meta.get("opts", {}).items():
        merge(cfg, [key, tuple(value) if isinstance(value, list) else value])
    if "optim" in meta:
        cfg.OPTIM.NAME, cfg.OPTIM.LR = meta["optim"]["name"], meta["optim"]["lr"]
        cfg.OPTIM.MOMENTUM = meta["optim"]["momentum"]
        cfg.OPTIM.WEIGHT_DECAY = meta["optim"]["weight_decay"]
        cfg.OPTIM.LR_SCHEDULER, cfg.OPTIM.MAX_EPOCH = meta["optim"]["schedule"], meta["epochs"]
        cfg.OPTIM.WARMUP_EPOCH, cfg.OPTIM.WARMUP_TYPE = 1, "constant"
        cfg.OPTIM.WARMUP_CONS_LR = 1e-5
    return cfg


def _trainer(cfg, names: list[str]):
    """A registered trainer whose data are fed by hand."""

    def build_data_loader(self) -> None:
        self.dm = SimpleNamespace(dataset=SimpleNamespace(classnames=names))
        self.train_loader_x = self.train_loader_u = self.val_loader = self.test_loader = None
        self.num_classes, self.lab2cname = len(names), dict(enumerate(names))
        self.num_source_domains = 0

    registered = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)
    return type(registered.__name__, (registered,), {"build_data_loader": build_data_loader})(cfg)


def _logits(trainer, pixels: np.ndarray) -> np.ndarray:
    trainer.set_model_mode("eval")
    with torch.no_grad():
        return trainer.model_inference(tiny_clip.images(pixels)).float().numpy()


def relative_error(ours: np.ndarray, reference: np.ndarray) -> float:
    """Norm of the difference over the norm of the reference."""
    difference = np.linalg.norm(np.asarray(ours, np.float64) - reference)
    return float(difference / max(np.linalg.norm(reference), 1e-12))


def _whole_model_names(trainer) -> dict[str, torch.nn.Parameter]:
    return trainer.model.prompt_learner.published_names()


def replay(path: Path, folder: Path) -> dict[str, float]:
    """The largest relative error of each kind of figure in one file."""
    record = np.load(path)
    meta = json.loads(str(record["meta"]))
    backbone = _backbone(str(folder), meta["clip"]["kind"], meta["clip"]["seed"])
    cfg = _configure(meta, backbone, folder / path.stem)
    if "loss" not in record:
        return _replay_zero_shot(record, meta, cfg)

    trainer = _trainer(cfg, meta["base"])
    with torch.no_grad():
        for name, parameter in _whole_model_names(trainer).items():
            parameter.copy_(torch.from_numpy(record[f"init/{name}"]))
    losses, rates, parts, gradients = [], [], [], {}
    steps = len(record["loss"])
    trainer.num_batches = steps // meta["epochs"]
    trainer.start_epoch, trainer.max_epoch = 0, meta["epochs"]
    for epoch in range(meta["epochs"]):
        trainer.epoch = epoch
        trainer.set_model_mode("train")
        for batch in range(trainer.num_batches):
            trainer.batch_idx = batch
            step = epoch * trainer.num_batches + batch
            rates.append(trainer.get_current_lr())
            labels = torch.from_numpy(record["label"][step])
            summary = trainer.forward_backward(
                {"img": tiny_clip.images(record["img"][step]), "label": labels}
            )
            losses.append(summary["loss"])
            if "parts_ce_l1text_l1image_klsum" in record:
                summed = summary["kl"] * len(labels) * len(meta["base"])
                parts.append([summary["ce"], summary["l1_text"], summary["l1_image"], summed])
            if step == 0:
                gradients = {k: p.grad.clone() for k, p in _whole_model_names(trainer).items()}
        trainer.after_epoch()

    new = _trainer(cfg, meta["new"])
    new.load_model(cfg.OUTPUT_DIR, epoch=meta["epochs"])
    errors = {
        "loss": relative_error(losses, record["loss"]),
        "lr": relative_error(rates, record["lr"]),
        "grad": max(relative_error(g, record[f"grad/{k}"]) for k, g in gradients.items()),
        "final": max(
            relative_error(p.detach(), record[f"final/{k}"])
            for k, p in _whole_model_names(trainer).items()
        ),
        "logits": max(
            relative_error(_logits(trainer, record["test_img"]), record["test_logits_base"]),
            relative_error(_logits(new, record["test_img_new"]), record["test_logits_new"]),
        ),
    }
    if parts:
        recorded = record["parts_ce_l1text_l1image_klsum"]
        columns = zip(np.array(parts).T, recorded.T, strict=True)
        errors["parts"] = max(relative_error(ours, reference) for ours, reference in columns)
    return errors


def _replay_zero_shot(record: Mapping[str, np.ndarray], meta: Mapping[str, Any], cfg):
    cfg.TRAINER.ZEROSHOT.TEMPLATE = meta["custom_template"]
    trainer = _trainer(cfg, meta["classnames"])
    logits = _logits(trainer, record["img"])
    text = trainer.model.class_features().numpy()
    recorded = record["text_features"]
    recorded = recorded / np.linalg.norm(recorded, axis=-1, keepdims=True)
    return {"logits": max(relative_error(logits, record["logits"]), relative_error(text, recorded))}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, help="a folder of .npz files")
    directory = parser.parse_args(arguments).directory
    paths = sorted(directory.glob("*.npz"))
    if not paths:
        print(f"{directory} holds no .npz file: expected recorded runs", file=sys.stderr)
        return 2
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            name = json.loads(str(np.load(path)["meta"]))["trainer"]
            if name not in TRAINER_REGISTRY.registered_names():
                print(f"{path.name}: not replayed, {name} is not a trainer of this project")
                continue
            with contextlib.redirect_stdout(io.StringIO()):
                errors = replay(path, Path(folder))
            above = [kind for kind, error in errors.items() if not error <= BOUNDS[kind]]
            failed |= bool(above)
            figures = "  ".join(f"{kind} {error:.1e}" for kind, error in errors.items())
            print(f"{path.name}: {figures}  {'FAILED: ' + ', '.join(above) if above else 'ok'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
