"""Frozen features of a loader's images from the store, in place of pictures that nobody then opens."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from seeded_loading import ItemSeeds, SeededItems, base_seed, rebuilt
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from yacs.config import CfgNode

from prompting.feature_rows import FeatureRows, row_key
from prompting.feature_store import LIMIT, FeatureStore, computed_on

from .manifest import versions
from .transforms import describe, random_transforms

if TYPE_CHECKING:
    from .prompt_trainer import PromptTrainer

OPTIONS = {
    # whose features are taken from the store: images of tests, training images, texts of teachers
    "TESTS": True,
    "TRAINING": False,
    "TEXTS": True,
    # where it is; "" for the cache folder (PROMPT_CACHE, else the user's)
    "FOLDER": "",
    # what it may take of the disk, in GB
    "GB": LIMIT,
}
STORED = "stored"
"""The entry that batches of a served loader have beside the usual ones."""
TESTS, TRAINING = "tests", "training"
# of what reads and transforms pictures
_READERS = ("torchvision", "pillow", "dassl-engine")


def store_options(cfg: CfgNode) -> Mapping[str, Any]:
    """The node STORE, completed by its defaults."""
    return {**OPTIONS, **cfg.get("STORE", {})}


@dataclass(frozen=True)
class FrozenEncoder:
    """An image encoder that nothing learned reaches.

    fingerprint: of all that decides what it gives. encode: images (B, 3, H, W) -> features (B, width),
    which dtype holds without loss.
    """

    fingerprint: str
    encode: Callable[[Tensor], Tensor]
    width: int
    dtype: torch.dtype


class _Kind:
    """One kind of features of a dataset's images.

    Args:
        store: where they are.
        about: what decides them beside the picture.
        width, dtype: of a feature.
        seeds: what makes an image another one in every epoch; None where nothing does.
    """

    def __init__(
        self,
        store: FeatureStore,
        about: Mapping[str, Any],
        width: int,
        dtype: torch.dtype,
        seeds: ItemSeeds | None,
    ) -> None:
        self.store, self.about, self.seeds = store, about, seeds
        self.width, self.dtype = width, dtype
        self._rows: FeatureRows | None = None

    @property
    def part(self) -> str:
        """The name of the features that are asked for now."""
        if self.seeds is None:
            return "all"
        epoch, repeated = self.seeds.now
        return f"epoch-{epoch + 1:04}" + (f"-pass-{repeated + 1}" if repeated else "")

    def rows(self, part: str) -> FeatureRows:
        """The features of a part."""
        if self._rows is None or self._rows.name != part:
            self._rows = self.store.rows(self.about, part, self.width, self.dtype)
        return self._rows

    def key(self, path: str, index: int, view: int) -> bytes:
        """Of a picture as it is now and, where its augmentation depends on it, of its place."""
        try:
            file = os.stat(path)
        except OSError:  # whoever reads the picture says why; nobody else has this key
            return row_key(os.urandom(16))
        as_it_is = file.st_size, file.st_mtime_ns, file.st_ctime_ns
        place = None if self.seeds is None else index
        return row_key(os.path.abspath(path), as_it_is, place, view)


class _StoredItems(Dataset):
    """Another dataset's items with what the store has of their images; without pictures where that is
    there and they are not wanted.

    Args:
        dataset: whose items they are.
        kind: the features.
        view: the view that they are of, from 0.
        pictures: whether pictures are wanted all the same.
    """

    def __init__(self, dataset: Dataset, kind: _Kind, view: int, pictures: bool) -> None:
        self.dataset, self.source = dataset, _reader(dataset).data_source
        self.kind, self.view, self.pictures = kind, view, pictures

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item, part = self.source[index], self.kind.part
        # before the picture is opened: one that is replaced meanwhile has another key
        key = self.kind.key(item.impath, index, self.view)
        feature = self.kind.rows(part).get(key)
        if feature is None or self.pictures:
            made = self.dataset[index]
        else:
            of_item = {"label": item.label, "domain": item.domain, "impath": item.impath}
            made = {**of_item, "index": index}
        return {**made, STORED: (part, key, feature, self.pictures)}


def _reader(dataset: Dataset) -> Any:
    """The dataset that reads the pictures, inside what seeds its items."""
    return dataset.dataset if isinstance(dataset, SeededItems) else dataset


def _collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch whose "img" are the pictures that are there, and with STORED: part, keys, the features
    that are there with their places, and whether all pictures are."""
    parts, keys, features, wanted = zip(*(item.pop(STORED) for item in items), strict=True)
    pictures = [item.pop("img") for item in items if "img" in item]
    known = [place for place, feature in enumerate(features) if feature is not None]
    stored = {"part": parts[0], "keys": list(keys), "known": known, "pictures": wanted[0]}
    if known:
        stored["features"] = torch.stack([features[place] for place in known])
    batch = {**default_collate(items), STORED: stored}
    return {**batch, "img": default_collate(pictures)} if pictures else batch


class StoredImages:
    """What a trainer takes from the store of features, and adds to it.

    Attributes:
        store: the store.
        counts: of the features of TESTS and TRAINING, how many were read and how many computed.
    """

    def __init__(self, trainer: PromptTrainer) -> None:
        self.trainer = trainer
        self.options = store_options(trainer.cfg)
        folder = self.options["FOLDER"]
        self.store = FeatureStore(Path(folder).expanduser() if folder else None, self.options["GB"])
        self.counts = {use: Counter(read=0, computed=0) for use in (TESTS, TRAINING)}
        self._kinds: dict[str, tuple[_Kind, FrozenEncoder]] = {}
        self._served: dict[DataLoader, DataLoader] = {}

    def frozen_clip(self) -> FrozenEncoder:
        """The trainer's own image encoder without anything learned."""
        model, dtype = self.trainer.model, self.trainer.precision.weights
        clip = model.clip
        return FrozenEncoder(clip.fingerprint, model.encode_images_raw, clip.embed_dim, dtype)

    def for_tests(self, loader: DataLoader) -> DataLoader:
        """A loader of the same images; where nothing learned reaches them, with what the store has of
        them in place of pictures."""
        if not (self.options["TESTS"] and self.trainer.model.prompt_learner.images_are_frozen):
            return loader
        if loader not in self._served:
            self._served[loader] = self._serve(loader, TESTS, self.frozen_clip())
        return self._served[loader]

    def for_training(self, loader: DataLoader) -> DataLoader:
        """The same of training images; beside the pictures where a frozen encoder sees them as well."""
        trainer = self.trainer
        if not self.options["TRAINING"]:
            return loader
        own, encoder, view = self.frozen_clip(), trainer.frozen_encoder(), trainer.frozen_view
        frozen = trainer.model.prompt_learner.images_are_frozen and trainer.views == 1
        if frozen and encoder.fingerprint == own.fingerprint:
            return self._serve(loader, TRAINING, own)
        if view:
            return self._serve(loader, TRAINING, encoder, view - 1, pictures=True)
        return loader

    def describe(self) -> dict[str, Any] | None:
        """For the manifest: where features were read from and kept, and how many; None for none."""
        used = {use: dict(count) for use, count in self.counts.items() if count.total()}
        return {"folder": str(self.store.folder), **used} if used else None

    def complete(self, batch: Mapping[str, Any], use: str) -> Tensor:
        """The features (B, width) of a served loader's batch, on the trainer's device; those that the
        store did not have are computed and added.

        Args:
            use: TESTS or TRAINING.
        """
        stored, (kind, encoder) = batch[STORED], self._kinds[use]
        keys, known = stored["keys"], stored["known"]
        lacking = sorted({*range(len(keys))} - {*known})
        features = torch.empty(len(keys), kind.width, dtype=kind.dtype)
        if known:
            features[known] = stored["features"]
        if lacking:
            pixels = batch["img"]
            if not isinstance(pixels, Tensor):
                pixels = pixels[self.trainer.frozen_view - 1]
            if len(pixels) > len(lacking):
                pixels = pixels[lacking]
            computed = self._encode(encoder, pixels)
            rows = kind.rows(stored["part"])
            features[lacking] = self.store.keep(rows, [keys[place] for place in lacking], computed)
        self.counts[use].update(read=len(known), computed=len(lacking))
        return features.to(self.trainer.device, non_blocking=True)

    @torch.no_grad()
    def _encode(self, encoder: FrozenEncoder, pixels: Tensor) -> Tensor:
        with self.trainer.precision.autocast():
            return encoder.encode(pixels.to(self.trainer.device, non_blocking=True))

    def _serve(
        self,
        loader: DataLoader,
        use: str,
        encoder: FrozenEncoder,
        view: int = 0,
        pictures: bool = False,
    ) -> DataLoader:
        """The loader, served from the store where it is one that reads pictures as Dassl's do."""
        cfg, reader = self.trainer.cfg, _reader(loader.dataset)
        # other trainers' loaders, or several transforms of one picture
        if not hasattr(reader, "data_source") or isinstance(reader.transform, (list, tuple)):
            return loader
        changing = reader.is_train and bool(random_transforms(cfg))
        if reader.return_img0 or (changing and cfg.SEED < 0):
            return loader
        # of other engines, those that tests in between build have none
        order = getattr(loader, "seeds", None) or ItemSeeds(base_seed(cfg.SEED))
        seeds = order if changing else None
        try:
            transform = describe(reader.transform)
        except ValueError as error:
            print(f"The features of {use} are not kept: {error}")
            return loader
        about = {
            "of": f"images of {cfg.DATASET.NAME}",
            "backbone": encoder.fingerprint,
            "precision": self.trainer.precision.name,
            "seed": seeds and seeds.seed,
            "stream": seeds and seeds.stream,
            "transform": transform,
            "computed_on": computed_on(self.trainer.device),
            "read_by": versions(_READERS),
        }
        kind = _Kind(self.store, about, encoder.width, encoder.dtype, seeds)
        self._kinds[use] = kind, encoder
        items = _StoredItems(loader.dataset, kind, view, pictures)
        print(
            f"Frozen features of the images of {use} are read from and kept in {self.store.folder}"
        )
        return rebuilt(loader, order, loader.persistent_workers, items, _collate)
