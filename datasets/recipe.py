"""What a dataset's download recipe says; each dataset's file holds its own.

A recipe is data: `datasets.download` follows it, and `datasets.check` compares the counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DRIVE = "gdrive:"
"""Prefix of a source that is the id of a file on Google Drive."""
MIRROR = "https://huggingface.co/zhengli97/prompt_learning_dataset/resolve/main/"
"""A mirror of all but ImageNet: one archive a dataset, which holds the dataset's folder."""


@dataclass(frozen=True)
class Source:
    """One place to fetch from: a URL, or `DRIVE` and an id.

    ``take`` maps paths inside the archive to paths inside the dataset's folder.  Empty, the
    fetched file itself is what is wanted.  ``inner`` names an archive inside the archive.
    """

    url: str
    take: dict[str, str] = field(default_factory=dict)
    sha256: str = ""
    inner: str = ""


@dataclass(frozen=True)
class Piece:
    """Something that the dataset needs: the paths inside its folder that this piece provides, and
    its sources in the order in which they are tried (the recipe's mirror comes last).  Without
    any, it is fetched by hand, as ``by_hand`` describes."""

    provides: tuple[str, ...]
    sources: tuple[Source, ...] = ()
    by_hand: str = ""


@dataclass(frozen=True)
class Recipe:
    """The pieces of a dataset; ``mirror``, the URL of an archive that holds the whole dataset
    folder; and the published number of classes and of images per split (a test-only dataset has
    no ``train`` and ``val``, ImageNet no ``val``)."""

    pieces: tuple[Piece, ...]
    classes: int
    test: int
    train: int = 0
    val: int = 0
    mirror: str = ""


def file_on_drive(name: str, drive_id: str, sha256: str = "") -> Piece:
    """A piece that is one file, stored on Google Drive."""
    return Piece((name,), (Source(DRIVE + drive_id, sha256=sha256),))


def imagenet_class_names() -> Piece:
    """The class names of ImageNet and its variants."""
    return file_on_drive("classnames.txt", "1-61f_ol79pViBFDG_IDlUQSwoLcn2XXF")
