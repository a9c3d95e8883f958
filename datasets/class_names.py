"""What CLIP's text encoder sees of a class name: names that look different may be one to it."""

from __future__ import annotations

import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Iterable
from functools import cache


@cache
def _tokenizer():
    with warnings.catch_warnings():
        # clip still asks for pkg_resources, about whose deprecation its users can do nothing
        warnings.simplefilter("ignore", UserWarning)
        from clip.simple_tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def seen_by_clip(name: str) -> tuple[int, ...]:
    """The tokens of a class name as it stands in a prompt: underscores are spaces, and CLIP's
    tokenizer mends the encoding, resolves HTML entities, and drops case and repeated blanks."""
    return tuple(_tokenizer().encode(name.replace("_", " ")))


def has_control_character(name: str) -> bool:
    """Whether a name has a tab, a line break or their like in it: two cells or lines read as one name,
    or a damaged letter, which the tokenizer drops or reads as a blank."""
    return any(unicodedata.category(each) == "Cc" for each in name)


def find_alike(names: Iterable[str]) -> list[list[int]]:
    """Positions of names that are the same to the text encoder, a list for each such name."""
    positions: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, name in enumerate(names):
        positions[seen_by_clip(name)].append(position)
    return [alike for alike in positions.values() if len(alike) > 1]
