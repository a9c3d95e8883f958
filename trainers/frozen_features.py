"""Features of a dataset's images by the frozen image encoder, under the transforms of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from dassl.data import DatasetWrapper
from dassl.data.transforms import build_transform
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

if TYPE_CHECKING:
    from .prompt_trainer import PromptTrainer


@torch.no_grad()
def image_features(trainer: PromptTrainer, part: str) -> tuple[Tensor, Tensor]:
    """Raw features (N, embed_dim), fp32, and labels (N,) of a part of a trainer's dataset, on the CPU;
    from the store as far as it has them.

    Args:
        trainer: whose data, encoder and precision they are.
        part: "train_x", "val" or "test".
    """
    cfg, images = trainer.cfg, getattr(trainer.dm.dataset, part)
    pictures = DatasetWrapper(cfg, images, build_transform(cfg, is_train=False))
    options = cfg.DATALOADER
    loader = DataLoader(pictures, options.TEST.BATCH_SIZE, num_workers=options.NUM_WORKERS)
    found = []
    for batch in tqdm(
        trainer.stored.for_tests(loader), desc=f"features of {part}", disable=None, leave=False
    ):
        given, labels = trainer.parse_batch_test(batch)
        with trainer.precision.autocast():
            found.append((trainer.model.encode_images_raw(given).float().cpu(), labels.cpu()))
    features, labels = zip(*found, strict=True)
    return torch.cat(features), torch.cat(labels)
