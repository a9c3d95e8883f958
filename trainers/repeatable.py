"""The same images in the same order with the same augmentation on every engine, for the same seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seeded_loading import ItemSeeds, SeededLoader, base_seed, rebuilt

if TYPE_CHECKING:
    from dassl.engine import TrainerX

_TRAINING = ("train_loader_x", "train_loader_u")
_TESTING = ("val_loader", "test_loader")


def seed_loaders(trainer: TrainerX) -> None:
    """Replace those loaders of a trainer, and of its data manager, that draw from the global random
    state by ones that draw from (SEED, epoch, index); our own engine's are such loaders already."""
    for name in (*_TRAINING, *_TESTING):
        loader = getattr(trainer, name)
        if loader is None or isinstance(loader, SeededLoader):
            continue
        stream = _TRAINING.index(name) if name in _TRAINING else 0
        seeds = ItemSeeds(base_seed(trainer.cfg.SEED), stream)
        seeded = rebuilt(loader, seeds, keep_workers=name in _TRAINING)
        setattr(trainer, name, seeded)
        setattr(trainer.dm, name, seeded)
