"""Reading images, and the loaders of a run."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from dassl.utils import InputError, read_image
from PIL import Image
from seeded_loading import ItemSeeds, SeededLoader, base_seed, start_epoch
from tabulate import tabulate
from torch.utils.data import DataLoader, Dataset
from yacs.config import CfgNode

from .datasets import Datum, build_dataset
from .kept_pixels import KeptPixels
from .samplers import build_sampler
from .transforms.transforms import build_transform, plain_transform

__all__ = ["DataManager", "DatasetWrapper", "build_data_loader"]

_MOST_WORKERS = 8


class DatasetWrapper(Dataset):
    """Reads and transforms images.

    An item is a dictionary with ``img`` (and ``img2`` ... for further views, ``img0`` for the image
    without augmentation), ``label``, ``domain``, ``impath`` and ``index``. Its randomness follows
    from (SEED, epoch, index) alone, whichever process makes it, and leaves the outer random state
    as it was. Training images are decoded once, as far as ``DATALOADER.KEPT_PIXELS`` goes.

    Args:
        cfg: the configuration.
        data_source: the images.
        transform: a callable on PIL images, or several for several views.
        is_train: whether ``DATALOADER.K_TRANSFORMS`` and ``RETURN_IMG0`` apply.

    Raises:
        InputError: several views without a transform.
    """

    def __init__(
        self,
        cfg: CfgNode,
        data_source: Sequence[Datum],
        transform: Callable | Sequence[Callable] | None = None,
        is_train: bool = False,
    ) -> None:
        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.k_tfm = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        self.return_img0 = cfg.DATALOADER.RETURN_IMG0 if is_train else False
        if self.k_tfm > 1 and transform is None:
            raise InputError(
                f"DATALOADER.K_TRANSFORMS is {self.k_tfm}, but there is no transform that could "
                "make several views; unset INPUT.NO_TRANSFORM"
            )
        self.to_tensor = plain_transform(cfg) if self.return_img0 else None
        limit = cfg.DATALOADER.KEPT_PIXELS * 2**20 if is_train else 0
        self.pixels = KeptPixels(len(data_source), limit)
        self.seeds = ItemSeeds(base_seed(cfg.SEED))

    def set_epoch(self, epoch: int) -> None:
        """Augment for that epoch from now on, in workers that are already running too."""
        self.seeds.start_epoch(epoch)

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        with self.seeds.of(idx):
            return self._make_item(idx)

    def _make_item(self, idx: int) -> dict[str, Any]:
        item = self.data_source[idx]
        output = {
            "label": item.label,
            "domain": item.domain,
            "impath": item.impath,
            "index": idx,
        }
        img0 = self.pixels.image(idx, lambda: read_image(item.impath))
        if self.transform is None:
            output["img"] = img0
        elif isinstance(self.transform, (list, tuple)):
            for number, transform in enumerate(self.transform, start=1):
                output["img" if number == 1 else f"img{number}"] = self._transform_image(
                    transform, img0
                )
        else:
            output["img"] = self._transform_image(self.transform, img0)
        if self.return_img0:
            output["img0"] = self.to_tensor(img0)
        return output

    def _transform_image(self, tfm: Callable, img0: Image.Image) -> Any:
        views = [tfm(img0) for _ in range(self.k_tfm)]
        return views[0] if len(views) == 1 else views


def build_data_loader(
    cfg: CfgNode,
    sampler_type: str = "SequentialSampler",
    data_source: Sequence[Datum] | None = None,
    batch_size: int = 64,
    n_domain: int = 0,
    n_ins: int = 2,
    tfm: Callable | Sequence[Callable] | None = None,
    is_train: bool = True,
    dataset_wrapper: Callable[..., Dataset] | None = None,
    stream: int = 0,
) -> DataLoader:
    """A loader over ``data_source``.

    It has random generators of its own, so that iterating it neither changes the global random
    state nor depends on it.

    Args:
        cfg: the configuration.
        sampler_type: a name of :func:`dassl.data.samplers.build_sampler`.
        data_source: the images.
        batch_size: images in a batch.
        n_domain: domains in a batch (RandomDomainSampler).
        n_ins: images of one class in a batch (RandomClassSampler).
        tfm: transform or transforms.
        is_train: drop a last short batch, unless it is the only one, and keep workers alive between
            epochs.
        dataset_wrapper: called as ``dataset_wrapper(cfg, data_source, transform, is_train)``; by
            default :class:`DatasetWrapper`.
        stream: a number that sets this loader's randomness apart from that of others.

    Raises:
        InputError: there are no images.
    """
    if not data_source:
        raise InputError(
            f"There are no images to load for {'training' if is_train else 'testing'}. "
            "Check DATASET.ROOT and the data set's split."
        )
    dataset_wrapper = DatasetWrapper if dataset_wrapper is None else dataset_wrapper
    dataset = dataset_wrapper(cfg, data_source, transform=tfm, is_train=is_train)
    seeds = dataset.seeds if isinstance(dataset, DatasetWrapper) else ItemSeeds(base_seed(cfg.SEED))
    seeds.stream = stream
    sampler = build_sampler(
        sampler_type,
        cfg=cfg,
        data_source=data_source,
        batch_size=batch_size,
        n_domain=n_domain,
        n_ins=n_ins,
        generator=torch.Generator(),
    )
    if is_train and len(data_source) < batch_size:
        warnings.warn(
            f"The training set has {len(data_source)} images, fewer than one batch of "
            f"{batch_size}: an epoch is 1 step with all of them. For more steps, lower BATCH_SIZE "
            "under DATALOADER.TRAIN_X (or TRAIN_U).",
            stacklevel=2,
        )
    workers = cfg.DATALOADER.NUM_WORKERS
    if workers < 0:
        workers = min(_MOST_WORKERS, os.cpu_count() or 1)
    return SeededLoader(
        dataset,
        seeds,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        drop_last=is_train and len(data_source) >= batch_size,
        pin_memory=torch.cuda.is_available() and cfg.USE_CUDA,
        persistent_workers=is_train and workers > 0,
    )


def _transform(cfg: CfgNode, custom: Any, is_train: bool) -> Any:
    if custom is None:
        return build_transform(cfg, is_train=is_train)
    print(f"* Using custom transform for {'training' if is_train else 'testing'}")
    return custom


class DataManager:
    """The dataset of a run with its loaders.

    Attributes: ``dataset``, ``train_loader_x``, ``train_loader_u`` and ``val_loader`` (``None``
    where the dataset has no such images), ``test_loader``, ``num_classes``,
    ``num_source_domains``, ``lab2cname``.

    Args:
        cfg: the configuration.
        custom_tfm_train: transform(s) in place of the configured ones, for training.
        custom_tfm_test: the same for validation and test.
        dataset_wrapper: in place of :class:`DatasetWrapper`.
    """

    def __init__(
        self,
        cfg: CfgNode,
        custom_tfm_train: Callable | Sequence[Callable] | None = None,
        custom_tfm_test: Callable | Sequence[Callable] | None = None,
        dataset_wrapper: Callable[..., Dataset] | None = None,
    ) -> None:
        dataset = build_dataset(cfg)
        tfm_train = _transform(cfg, custom_tfm_train, is_train=True)
        tfm_test = _transform(cfg, custom_tfm_test, is_train=False)
        options = cfg.DATALOADER

        def training(images: Sequence[Datum], node: CfgNode, stream: int) -> DataLoader:
            return build_data_loader(
                cfg,
                sampler_type=node.SAMPLER,
                data_source=images,
                batch_size=node.BATCH_SIZE,
                n_domain=node.N_DOMAIN,
                n_ins=node.N_INS,
                tfm=tfm_train,
                is_train=True,
                dataset_wrapper=dataset_wrapper,
                stream=stream,
            )

        def testing(images: Sequence[Datum]) -> DataLoader:
            return build_data_loader(
                cfg,
                sampler_type=options.TEST.SAMPLER,
                data_source=images,
                batch_size=options.TEST.BATCH_SIZE,
                tfm=tfm_test,
                is_train=False,
                dataset_wrapper=dataset_wrapper,
            )

        self.train_loader_x = training(dataset.train_x, options.TRAIN_X, stream=0)
        self.train_loader_u = None
        if dataset.train_u:
            node = options.TRAIN_X if options.TRAIN_U.SAME_AS_X else options.TRAIN_U
            self.train_loader_u = training(dataset.train_u, node, stream=1)
        self.val_loader = testing(dataset.val) if dataset.val else None
        self.test_loader = testing(dataset.test)

        self.dataset = dataset
        loaders = (self.train_loader_x, self.train_loader_u)
        self._seeds = [None if loader is None else loader.seeds for loader in loaders]
        self.num_classes = dataset.num_classes
        self.num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        self.lab2cname = dataset.lab2cname
        if cfg.VERBOSE:
            self.show_dataset_summary(cfg)

    def set_epoch(self, epoch: int) -> None:
        """Make the training loaders' order and augmentation those of ``epoch``, counted from 0.

        They then follow from (SEED, epoch) alone, so that a resumed run sees what an unbroken one
        sees.
        """
        loaders = (self.train_loader_x, self.train_loader_u)
        for loader, seeds in zip(loaders, self._seeds, strict=True):
            if loader is not None:
                # a trainer may have put a loader of its own here
                own = isinstance(loader.dataset, DatasetWrapper)
                start_epoch(loader, loader.dataset.seeds if own else seeds, epoch)

    def show_dataset_summary(self, cfg: CfgNode) -> None:
        """Print the dataset's name, domains and sizes."""
        table = [["Dataset", cfg.DATASET.NAME]]
        if cfg.DATASET.SOURCE_DOMAINS:
            table.append(["Source", cfg.DATASET.SOURCE_DOMAINS])
        if cfg.DATASET.TARGET_DOMAINS:
            table.append(["Target", cfg.DATASET.TARGET_DOMAINS])
        table.append(["# classes", f"{self.num_classes:,}"])
        for name in ("train_x", "train_u", "val", "test"):
            images = getattr(self.dataset, name)
            if images:
                table.append([f"# {name}", f"{len(images):,}"])
        print(tabulate(table))
