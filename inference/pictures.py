"""Pictures from wherever they are, in batches and in order; what cannot be read is said, not raised."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from dassl.utils import read_image
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datasets.pictures import FORMATS, too_large
from prompting.errors import InputError

from .preprocessing import Preprocessing

FEW = 64
"""So many pictures are read faster than workers start."""
MOST_WORKERS = 8


class Unreadable(InputError):
    """A picture that cannot be classified; the message is the reason alone."""


def as_list(images: Any) -> list[Any]:
    """The pictures one by one; a single one is a list of it."""
    single = isinstance(images, (str, os.PathLike, Image.Image))
    if single or (isinstance(images, (np.ndarray, Tensor)) and images.ndim < 4):
        return [images]
    return list(images)


def path_of(image: Any) -> str:
    """The path of a picture; "" for one that is in memory."""
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else ""


class Pictures(Dataset):
    """Pictures as the image encoder takes them; an item is (3, H, W), or the reason why not."""

    def __init__(self, images: Sequence[Any], preprocessing: Preprocessing) -> None:
        self.images, self.preprocessing = images, preprocessing

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor | str:
        try:
            return self._prepare(self.images[index])
        except Unreadable as error:
            return str(error)

    def _prepare(self, image: Any) -> Tensor:
        if isinstance(image, Tensor) and image.is_floating_point():
            return self._prepared(image)
        picture = self._read(path) if (path := path_of(image)) else _picture_of(image)
        return self.preprocessing.transform(picture)

    def _prepared(self, image: Tensor) -> Tensor:
        side = self.preprocessing.resolution
        if image.shape != (3, side, side):
            raise Unreadable(
                f"it is a tensor of floats of shape {tuple(image.shape)}: expected what the transform "
                f"gives, (3, {side}, {side}), or bytes"
            )
        return image.float().cpu()

    def _read(self, path: str) -> Image.Image:
        check_file(path)
        try:
            size = _size_of(path)
        except Image.DecompressionBombError:
            raise Unreadable(
                f"it has more than {2 * Image.MAX_IMAGE_PIXELS} pixels: make it smaller"
            ) from None
        except Exception:  # read_image says why
            size = (1, 1)
        if reason := too_large(size, self.preprocessing.resolution):
            raise Unreadable(reason)
        try:
            return read_image(path)
        except Exception as error:  # Pillow's decoders raise anything, from OSError to SyntaxError
            if not error.__cause__:
                raise Unreadable(str(error)) from error
            why = " ".join(str(error.__cause__).split())
            raise Unreadable(f"it is damaged or not a picture ({why})") from error


def check_file(path: str) -> None:
    """Raise `Unreadable` where a path leads to no ordinary file, or to one that may not be read."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise Unreadable(getattr(error, "strerror", None) or str(error)) from error
    if not stat.S_ISREG(mode):
        raise Unreadable("it is no ordinary file")  # opening a pipe would wait for ever
    if not os.access(path, os.R_OK):
        raise Unreadable("there is no permission to read it")


def _size_of(path: str) -> tuple[int, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=FORMATS) as image:
            return image.size


def _picture_of(image: Any) -> Image.Image:
    """An RGB picture of what is in memory.

    Raises:
        Unreadable: it is no picture, or its numbers have no known range.
    """
    if isinstance(image, Tensor):
        # a tensor has its channels first, an array last
        image = image.cpu().permute(1, 2, 0).numpy() if image.ndim == 3 else image.cpu().numpy()
    if isinstance(image, np.ndarray):
        channels = image.shape[2:] or (1,)
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels[0] not in (1, 3, 4):
            raise Unreadable(
                f"it is an array of {image.dtype} of shape {image.shape}: expected bytes (uint8) of "
                "shape (height, width, 3) or (height, width)"
            )
        image = Image.fromarray(image[..., 0] if channels[0] == 1 and image.ndim == 3 else image)
    if not isinstance(image, Image.Image):
        raise Unreadable(
            f"it is {type(image).__name__}: expected a path, a Pillow image, an array or a tensor"
        )
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        raise Unreadable(
            f"it has mode {image.mode}, whose numbers have no known range: convert it to 8 bits"
        )
    return image.convert("RGB")


def batches(
    images: Sequence[Any], preprocessing: Preprocessing, batch_size: int, workers: int | None
) -> Iterator[tuple[list[str], Tensor | None]]:
    """For every batch the reasons ("" where there is none), and the pictures that could be read, in
    order, (B, 3, H, W); None where there is none. Memory holds a few batches at a time.

    Args:
        workers: processes that read; None for as many as help.
    """
    if workers is None:
        # pictures in memory would be copied to the workers
        from_disk = len(images) > FEW and all(map(path_of, images))
        workers = min(MOST_WORKERS, os.cpu_count() or 1) if from_disk else 0
    return iter(
        DataLoader(
            Pictures(images, preprocessing),
            batch_size,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=torch.cuda.is_available(),
        )
    )


def _collate(items: Iterable[Tensor | str]) -> tuple[list[str], Tensor | None]:
    reasons = [item if isinstance(item, str) else "" for item in items]
    readable = [item for item in items if isinstance(item, Tensor)]
    return reasons, torch.stack(readable) if readable else None
