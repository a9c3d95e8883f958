"""OpenAI's models, by name."""

from __future__ import annotations

from pathlib import Path

import clip.clip

from ..errors import InputError
from .description import Description, Pretrained
from .files import read_weights

CACHE = Path("~/.cache/clip")
NAMES = tuple(clip.clip._MODELS)


def load(name: str) -> Pretrained:
    """An OpenAI model, downloaded once, its checksum verified by `clip`, cached or not.

    Raises:
        InputError: it cannot be downloaded.
    """
    address, folder = clip.clip._MODELS[name], CACHE.expanduser()
    try:
        path = Path(clip.clip._download(address, str(folder)))
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{name} cannot be downloaded from {address} to {folder}: {error}. Fetch "
            "it elsewhere and put it there, or give its path as the backbone"
        ) from error
    return Pretrained(read_weights(path, trusted=True), Description())
