"""What a dataset's download recipe says; each dataset's file holds its own.

A recipe is data: `datasets.download` follows it, and `datasets.check` compares counts, sums and
layout with it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

DRIVE = "gdrive:"
"""Prefix of a source that is the id of a file on Google Drive."""
SHIPPED = "shipped:"
"""Prefix of a source that is a file of this package."""
HUB = "https://huggingface.co/"
MIRROR = HUB + "zhengli97/prompt_learning_dataset/resolve/ceb3112337fb6e1bf71534e355ca5569b63f19a6/"
"""A mirror, at one commit, of all but ImageNet: a zip a dataset, which holds its folder."""
STATED = "the Hub states the sum of each file that it stores, and that one is compared"
UNPUBLISHED = "nobody has published its sum"


@dataclass(frozen=True)
class Source:
    """One place to fetch from: a URL, `DRIVE` and an id, or `SHIPPED` and a file's name.

    ``take`` maps paths inside the archive to paths inside the dataset's folder.  Empty, the
    fetched file itself is what is wanted.  ``inner`` names an archive inside the archive.
    ``sha256`` is the sum of the fetched file; where there is none, ``no_sum`` says why.
    """

    url: str
    take: dict[str, str] = field(default_factory=dict)
    sha256: str = ""
    inner: str = ""
    no_sum: str = ""


@dataclass(frozen=True)
class Piece:
    """Something that the dataset needs: the paths inside its folder that this piece provides, and
    its sources in the order in which they are tried (the recipe's mirror comes last).

    ``by_hand`` says how a person gets it where no source gives it.  ``sums`` has the sha256 of
    those provided paths for which it is known; they are compared wherever the piece came from.
    """

    provides: tuple[str, ...]
    sources: tuple[Source, ...] = ()
    by_hand: str = ""
    sums: dict[str, str] = field(default_factory=dict)

    def absent(self, folder: Path) -> list[str]:
        """The paths that are still to be brought into the dataset's ``folder``."""
        return [path for path in self.provides if not os.path.lexists(folder / path)]

    def assemble(self, folder: Path, work: Path) -> None:
        """Make the piece from archives that a person has put into ``folder``, where that can be
        done; ``work`` is a folder on the same disk for what is not complete yet."""


@dataclass(frozen=True)
class Recipe:
    """The pieces of a dataset; ``mirror``, an archive that holds the whole dataset folder; and the
    published number of classes and of images per split (a test-only dataset has no ``train`` and
    ``val``, ImageNet no ``val``)."""

    pieces: tuple[Piece, ...]
    classes: int
    test: int
    train: int = 0
    val: int = 0
    mirror: Source | None = None

    @property
    def sums(self) -> dict[str, str]:
        """The known sha256 of files in the dataset's folder, by path."""
        return {path: digest for piece in self.pieces for path, digest in piece.sums.items()}


def on_mirror(archive: str, sha256: str = "") -> Source:
    """An archive of `MIRROR`."""
    return Source(MIRROR + archive, sha256=sha256, no_sum="" if sha256 else STATED)


def file_on_drive(name: str, drive_id: str, sha256: str) -> Piece:
    """A piece that is one file, stored on Google Drive."""
    return Piece((name,), (Source(DRIVE + drive_id, sha256=sha256),), sums={name: sha256})


def imagenet_class_names() -> Piece:
    """The class names of ImageNet and its variants: the published file, else CLIP's names, which
    this package ships in the same form."""
    return Piece(
        ("classnames.txt",),
        (
            Source(DRIVE + "1-61f_ol79pViBFDG_IDlUQSwoLcn2XXF", no_sum=UNPUBLISHED),
            Source(
                SHIPPED + "imagenet_classnames.txt",
                sha256="89e0b642c6697a3a43a06a2bb65f9fefb3ca295ccc5f4ba9ce385f1a3a58c629",
            ),
        ),
    )
