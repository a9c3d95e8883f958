"""A run's folder, or a file with what was learned, turned into a trainer without any data."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from prompting import checkpoints
from prompting.backbone import is_path
from prompting.errors import InputError
from prompting.precision import resolve_precision
from trainers import PromptTrainer, resume, run_folder
from trainers.configuration_merge import merge
from trainers.results import RESULTS_FILE, config_items, default_config
from trainers.without_data import build_without_data

from . import outputs

NEEDED = {"method": str, "classnames": list, "config": dict, "backbone_name": str}


def find(given: str | Path) -> Path:
    """The file with what a run has learned: the best on validation, else the newest.

    Args:
        given: the folder of a finished training, the folder of prompts in it, or a file.

    Raises:
        InputError: nothing is there, the training is not finished, or it is a test.
    """
    path = Path(given).expanduser()
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(
            f"there is no run {path}: give the folder of a finished training, or a file of prompts"
        )
    folders = [each for each in (path, *sorted(path.iterdir())) if _holds_prompts(each)]
    if len(folders) != 1:
        raise InputError(_no_run(path, folders))
    folder = folders[0]
    if (folder / resume.RESUME_FILE).is_file():
        raise InputError(
            f"the training in {path} is not finished: let it go on by the command that began it, or "
            f"give a checkpoint in {folder} itself"
        )
    shared = folder / checkpoints.SHARED_FILE
    newest = checkpoints.locate(folder, None)
    return shared if shared.is_file() and not newest.is_file() else newest


def is_folder_of_run(path: str | Path) -> bool:
    """Whether a training or a test has written into a folder."""
    return any(Path(path, name).is_file() for name in (run_folder.CONFIG_FILE, RESULTS_FILE))


def _holds_prompts(folder: Path) -> bool:
    names = (checkpoints.SHARED_FILE, resume.RESUME_FILE, checkpoints.NEWEST)
    return folder.is_dir() and any((folder / name).is_file() for name in names)


def _no_run(path: Path, folders: Sequence[Path]) -> str:
    if folders:
        return f"{path} holds prompts of several runs: give one of {_list(folders)}"
    if (path / run_folder.CONFIG_FILE).is_file():
        return (
            f"{path} holds no prompts: its training has not ended an epoch, or it is a test, or its "
            "method learns nothing. Give the folder of a finished training"
        )
    if below := sorted(each.parent for each in path.glob(f"**/{run_folder.CONFIG_FILE}")):
        return f"{path} is not the folder of a run, but holds {len(below)} of them: {_list(below)}"
    return f"{path} is not the folder of a run: give the --output-dir of a finished training"


def _list(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths[:3])) + (" ..." if len(paths) > 3 else "")


def read(path: Path) -> dict[str, Any]:
    """A checkpoint that says what it is of.

    Raises:
        InputError: it cannot be read, or it does not say so, as published files do not.
    """
    if path.suffix == checkpoints.SHARED_SUFFIX and outputs.is_features(path):
        raise InputError(
            f"{path} holds class features (inference.export --features), which are no prompts: give "
            "the run's folder, or what inference.export --prompts writes"
        )
    checkpoint = checkpoints.load(path)
    header = checkpoint.get("header", {})
    if lacking := [key for key, kind in NEEDED.items() if not isinstance(header.get(key), kind)]:
        raise InputError(
            f"{path} does not say of itself: {', '.join(lacking)}; a file of the published code does "
            "not. Test it with train.py --eval-only, or train again"
        )
    return checkpoint


def build(
    path: Path,
    checkpoint: Mapping[str, Any],
    device: str | None = None,
    precision: str | None = None,
    backbone: str | None = None,
) -> PromptTrainer:
    """The trainer of a checkpoint, for the classes and with the prompts of its training.

    Loading compares the backbone's fingerprint and computes the probe again.

    Args:
        path: for messages.
        checkpoint: as `read` gives it.
        device: cpu or cuda; CUDA where there is one by default.
        precision: by default that of the training, and fp32 where the device cannot compute in it.
        backbone: in place of the one that the file names.

    Raises:
        InputError: no such method or backbone here, or another backbone than the training's.
    """
    cfg = _configuration(path, checkpoint["header"], device, precision, backbone)
    with (
        tempfile.TemporaryDirectory() as nowhere,  # a trainer looks into its output folder
        torch.random.fork_rng(devices=[]),  # it draws starting values
        contextlib.redirect_stdout(io.StringIO()),
    ):
        cfg.OUTPUT_DIR = nowhere
        cfg.freeze()
        trainer = build_without_data(cfg, checkpoint["header"]["classnames"])
        trainer.load_learned(path, checkpoint)
    trainer.set_model_mode("eval")
    return trainer


def _configuration(
    path: Path,
    header: Mapping[str, Any],
    device: str | None,
    precision: str | None,
    backbone: str | None,
) -> CfgNode:
    method = header["method"]
    known = [
        name
        for name in TRAINER_REGISTRY.registered_names()
        if issubclass(TRAINER_REGISTRY.get(name), PromptTrainer)
    ]
    if method not in known:
        raise InputError(f"{path} was made by {method!r}; here are: {', '.join(known)}")
    cfg = default_config()
    keys = dict(config_items(cfg))
    # what other rooms or versions have added says nothing of the model; the probe would show it
    pairs = [(key, value) for key, value in config_items(header["config"]) if key in keys]
    merge(cfg, [part for pair in pairs for part in pair])
    node = TRAINER_REGISTRY.get(method).node
    chosen = find_device(device)
    name = str(backbone or header["backbone_name"])
    if not backbone and is_path(name) and not Path(name).exists():
        raise InputError(
            f"{path} was made with the CLIP in {name}, which is not here: say where it is "
            "(--backbone, or backbone= in Python)"
        )
    merge(
        cfg,
        [
            *("TRAINER.NAME", method, "MODEL.BACKBONE.NAME", name, "RESUME", ""),
            *("USE_CUDA", chosen.type == "cuda"),
            *(f"TRAINER.{node}.PREC", precision or _own_precision(cfg.TRAINER[node].PREC, chosen)),
        ],
    )
    return cfg


def _own_precision(name: str, device: torch.device) -> str:
    try:
        return resolve_precision(name, device).name
    except InputError:
        return "fp32"


def find_device(name: str | None) -> torch.device:
    """The device of that name; CUDA where there is one by default.

    Raises:
        InputError: there is none.
    """
    if name not in (None, "cpu", "cuda"):
        raise InputError(
            f"the device is {name!r}: expected cpu or cuda (CUDA_VISIBLE_DEVICES chooses among several)"
        )
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("the device is cuda, but torch finds no CUDA device: use cpu")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
