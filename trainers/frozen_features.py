"""Features of a dataset's images by the frozen image encoder, under the transforms of tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from dassl.data import DatasetWrapper
from dassl.data.transforms import build_transform
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from prompting.feature_cache import picture_features

from .results import plain_config

if TYPE_CHECKING:
    from .prompt_trainer import PromptTrainer


def image_features(trainer: PromptTrainer, part: str) -> tuple[Tensor, Tensor]:
    """Raw features (N, embed_dim), fp32, and labels (N,) of a part of a trainer's dataset, on the CPU.

    A picture is encoded once for a backbone, precision, kind of device and configuration of INPUT, and
    kept on disk.

    Args:
        trainer: whose data, encoder and precision they are.
        part: "train_x", "val" or "test".
    """
    cfg, images = trainer.cfg, getattr(trainer.dm.dataset, part)

    @torch.no_grad()
    def encode(places: Sequence[int]) -> Tensor:
        lacking = [images[place] for place in places]
        pixels = DatasetWrapper(cfg, lacking, build_transform(cfg, is_train=False))
        workers = cfg.DATALOADER.NUM_WORKERS
        loader = DataLoader(pixels, cfg.DATALOADER.TEST.BATCH_SIZE, num_workers=workers)
        with trainer.precision.autocast():
            batches = [
                trainer.model.encode_images_raw(batch["img"].to(trainer.device)).float().cpu()
                for batch in tqdm(loader, desc=f"features of {part}", disable=None, leave=False)
            ]
        return torch.cat(batches)

    encoder = [trainer.model.clip.fingerprint, trainer.precision.name, trainer.device.type]
    key = json.dumps([*encoder, cfg.DATASET.NAME, part, plain_config(cfg.INPUT)])
    features = picture_features(key, [item.impath for item in images], encode)
    return features, torch.tensor([item.label for item in images])
