"""Files, seeds, names and the machine's description."""

from __future__ import annotations

import difflib
import glob
import json
import os
import random
import shutil
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image

from .errors import ImageError, InputError, MissingImage, UnwrittenFile

__all__ = [
    "atomic_write",
    "check_availability",
    "check_isfile",
    "collect_env_info",
    "download_url",
    "get_most_similar_str_to_a_from_b",
    "listdir_nohidden",
    "mkdir_if_missing",
    "read_image",
    "read_json",
    "set_random_seed",
    "tolist_if_not",
    "write_json",
]


# Ends the names of files that are being written.
_UNFINISHED = ".unfinished"


def mkdir_if_missing(dirname: str) -> None:
    """Make a folder and its parents unless they are there; an empty name is the current folder."""
    if dirname:
        os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath: str) -> bool:
    """Whether ``fpath`` is a file; warns where it is not."""
    if os.path.isfile(fpath):
        return True
    warnings.warn(f'No file found at "{fpath}"', stacklevel=2)
    return False


def atomic_write(fpath: str, write: Callable[[BinaryIO], Any]) -> None:
    """Fill a file so that it is seen either whole or not at all, also after a power failure.

    Args:
        fpath: the file; its folder is made.
        write: writes the content to the open binary file that it is given.

    Raises:
        UnwrittenFile: it cannot be written, as on a full disk; an earlier file stays as it was.
    """
    directory = os.path.dirname(fpath) or "."
    try:
        mkdir_if_missing(directory)
        _replace(fpath, directory, write)
    except (OSError, RuntimeError) as error:
        # torch.save reports what its stream raises as an error of its own.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise UnwrittenFile(
            f'"{fpath}" cannot be written: {cause.strerror or cause}{_room(directory)}. Make room '
            "or choose another --output-dir; what was there before is kept."
        ) from error


def _replace(fpath: str, directory: str, write: Callable[[BinaryIO], Any]) -> None:
    descriptor, temporary = tempfile.mkstemp(
        dir=directory, prefix=f".{os.path.basename(fpath)}.", suffix=_UNFINISHED
    )
    try:
        with os.fdopen(descriptor, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private to their owner; give what open() would have given.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, fpath)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(directory)


def _sync_folder(directory: str) -> None:
    """Let a new name outlast a power failure, where the system can sync folders."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _room(directory: str) -> str:
    try:
        return f" ({shutil.disk_usage(directory).free / 2**20:,.1f} MiB are free there)"
    except OSError:
        return ""


def remove_unfinished_files(directory: str) -> None:
    """Remove what :func:`atomic_write` left in a folder when the process was killed."""
    for path in glob.glob(os.path.join(glob.escape(directory), f".*{_UNFINISHED}")):
        with suppress(OSError):
            os.unlink(path)


def read_json(fpath: str) -> Any:
    """The content of a JSON file."""
    with open(fpath, encoding="utf-8") as stream:
        return json.load(stream)


def write_json(obj: Any, fpath: str) -> None:
    """Write ``obj`` as JSON; the folder is made."""
    text = json.dumps(obj, indent=4, separators=(",", ": "))
    atomic_write(fpath, lambda stream: stream.write(text.encode()))


def set_random_seed(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's generators, those of CUDA included.

    Raises:
        InputError: NumPy takes no such seed.
    """
    if not 0 <= seed < 2**32:
        raise InputError(f"The seed is {seed}; expected 0 to {2**32 - 1}.")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


def download_url(url: str, dst: str, from_gdrive: bool = False) -> None:
    """Download one file; what is at ``dst`` is replaced only when the download is complete.

    Args:
        url: an address, or with ``from_gdrive`` a Google Drive link or file id.
        dst: the file to write.
        from_gdrive: fetch with gdown.

    Raises:
        InputError: nothing came, or gdown is missing.
    """
    mkdir_if_missing(os.path.dirname(dst))
    print(f"* url: {url}")
    print(f"* destination: {dst}")
    partial = dst + ".part"
    try:
        if from_gdrive:
            _download_from_drive(url, partial)
        else:
            torch.hub.download_url_to_file(url, partial)
    except OSError as error:
        raise InputError(
            f'Downloading "{url}" failed ({error}). Check the network, or download it by hand '
            f'and put it at "{dst}".'
        ) from error
    os.replace(partial, dst)


def _download_from_drive(url: str, dst: str) -> None:
    try:
        import gdown
    except ImportError as error:
        raise InputError(
            'Downloading from Google Drive needs gdown: "pip install gdown".'
        ) from error
    key = "url" if url.startswith(("http:", "https:")) else "id"
    if gdown.download(output=dst, **{key: url}) is None:
        raise OSError("Google Drive gave no file; it may have reached its daily limit")


# MPO comes with JPEG. Pillow knows more, and hands some (EPS) to programs that run what a file says.
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


def read_image(path: str) -> Image.Image:
    """Open an image and convert it to RGB; of 16-bit values the upper eight bits are kept.

    Raises:
        MissingImage: no such file.
        ImageError: the file cannot be opened, is not an image that can be read, or holds 32-bit
            numbers, of which nobody knows which is black and which is white.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            # A named pipe would be waited for without end.
            raise ImageError(f'Cannot read the image "{path}": it is no ordinary file.')
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            return _to_rgb(image)
    except FileNotFoundError as error:
        raise MissingImage(
            f'There is no image "{path}". Check DATASET.ROOT, and that the data set was unpacked '
            "completely."
        ) from error
    except PermissionError as error:
        raise ImageError(f'Cannot open the image "{path}": {error.strerror}.') from error
    except ImageError:
        raise
    # Pillow's decoders raise anything, from struct.error to SyntaxError.
    except Exception as error:
        raise ImageError(
            f'Cannot read the image "{path}" ({error}). It is damaged or not an image: '
            "fetch it again, or take it out of the data set."
        ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    # Pillow has 16-bit values of these formats, and they alone, in mode I in some versions.
    sixteen_bits = image.mode.startswith("I;16") or (
        image.mode == "I" and image.format in ("PNG", "PPM")
    )
    if sixteen_bits:
        # As Pillow does with 16-bit colours; convert() would turn all above 255 into white.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        kind = "whole numbers" if image.mode == "I" else "real numbers"
        raise ImageError(
            f'The image "{image.filename}" holds 32-bit {kind}, of which it is not known which is '
            "black and which is white: save it with 8 or 16 bits."
        )
    return image.convert("RGB")


def collect_env_info() -> str:
    """Versions of the system, PyTorch and what it found, for the log."""
    from torch.utils.collect_env import get_pretty_env_info

    return f"{get_pretty_env_info()}\n        Pillow ({Image.__version__})"


def listdir_nohidden(path: str, sort: bool = False) -> list[str]:
    """The names in a folder that do not start with a dot."""
    names = [name for name in os.listdir(path) if not name.startswith(".")]
    return sorted(names) if sort else names


def get_most_similar_str_to_a_from_b(a: str, b: Iterable[str]) -> str | None:
    """The string of ``b`` that is most like ``a``, upper and lower case alike."""
    choices = list(b)
    if not choices:
        return None
    return max(
        choices,
        key=lambda choice: difflib.SequenceMatcher(None, a.lower(), choice.lower()).ratio(),
    )


def check_availability(requested: str, available: Iterable[str]) -> None:
    """Check that a name is one of those that exist.

    Raises:
        InputError: it is not; the message offers the nearest one and lists all.
    """
    available = list(available)
    if requested in available:
        return
    nearest = get_most_similar_str_to_a_from_b(requested, available)
    offer = f' (do you mean "{nearest}"?)' if nearest is not None else ""
    raise InputError(
        f'The requested one is expected to belong to {available}, but got "{requested}"{offer}'
    )


def tolist_if_not(x: Any) -> list:
    """``x`` itself where it is a list, else ``[x]``."""
    return x if isinstance(x, list) else [x]
