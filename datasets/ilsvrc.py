"""ImageNet from its own archives, which each person has to fetch by hand: checked, unpacked, and
its validation pictures, which come in no class folders, sorted into them."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from .archives import ArchiveError, unpack, unpack_nested
from .disk import file_digest
from .recipe import Piece

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12"
MD5 = {
    TRAIN: "1d675b47d978889d74fa0da5fadfb00e",
    VAL: "29b22e2961454d5413ddabcf34fc5622",
    f"{DEVKIT}.tar.gz": "fa75699e90414af021442c21a62c3abf",
}
"""The sums that torchvision compares; no sha256 of these files is published."""
REGISTER = (
    "ImageNet's licence asks each person to register at https://image-net.org (ILSVRC 2012). "
)
FLAT = re.compile(r"ILSVRC2012_val_\d{8}\.JPEG")


def flat_images(folder: Path) -> list[str]:
    """The validation pictures that lie in ``folder`` itself, not in a class folder, sorted."""
    if not folder.is_dir():
        return []
    return sorted(name for name in os.listdir(folder) if FLAT.fullmatch(name))


@dataclass(frozen=True)
class TrainImages(Piece):
    """images/train, from an archive of one archive a class."""

    provides: tuple[str, ...] = ("images/train",)
    by_hand: str = f"{REGISTER}Put {TRAIN} there and run this again: it is checked and unpacked."

    def assemble(self, folder: Path, work: Path) -> None:
        archive = folder / TRAIN
        if not archive.is_file():
            return
        _compare(archive)
        print(f"unpacking {archive}")
        with tempfile.TemporaryDirectory(dir=work) as temporary:
            made = Path(temporary) / "train"
            unpack_nested(archive, made)
            (folder / "images").mkdir(exist_ok=True)
            os.rename(made, folder / "images/train")


@dataclass(frozen=True)
class ValImages(Piece):
    """images/val, one folder a class, from an archive (or a folder) without class folders and the
    labels in the development kit."""

    provides: tuple[str, ...] = ("images/val",)
    by_hand: str = (
        f"{REGISTER}Put {VAL} (its pictures lie in no class folders) and {DEVKIT}.tar.gz (their "
        "labels) there and run this again: they are checked, unpacked and sorted."
    )

    def absent(self, folder: Path) -> list[str]:
        """images/val counts as absent as long as pictures in it are not in class folders."""
        return super().absent(folder) or (
            list(self.provides) if flat_images(folder / "images/val") else []
        )

    def assemble(self, folder: Path, work: Path) -> None:
        devkit, archive, images = folder / f"{DEVKIT}.tar.gz", folder / VAL, folder / "images/val"
        if not devkit.is_file() or not (images.is_dir() or archive.is_file()):
            return
        _compare(devkit)
        with tempfile.TemporaryDirectory(dir=work) as temporary:
            synsets = _read_labels(devkit, Path(temporary))
            if images.is_dir():
                _sort(images, synsets)
                return
            _compare(archive)
            print(f"unpacking {archive}")
            made = Path(temporary) / "val"
            unpack(archive, {".": "val"}, Path(temporary))
            _sort(made, synsets)
            images.parent.mkdir(exist_ok=True)
            os.rename(made, images)


def _compare(archive: Path) -> None:
    found = file_digest(archive, "md5")
    if found != MD5[archive.name]:
        raise ArchiveError(
            f"{archive} has a wrong checksum: expected the md5 {MD5[archive.name]}, got {found}. "
            "Fetch it again."
        )


def _read_labels(devkit: Path, into: Path) -> list[str]:
    """The synset of each validation picture, in the order of their numbers."""
    from scipy.io import loadmat

    data = f"{DEVKIT}/data/"
    names = ("meta.mat", "ILSVRC2012_validation_ground_truth.txt")
    unpack(devkit, {data + name: name for name in names}, into)
    synsets = loadmat(into / names[0], squeeze_me=True)["synsets"]
    by_number = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    return [by_number[int(line)] for line in (into / names[1]).read_text().split()]


def _sort(folder: Path, synsets: list[str]) -> None:
    """Move each picture of ``folder`` into the folder of its synset there; what is sorted already
    stays, so that a sorting that was stopped goes on."""
    for name in tqdm(flat_images(folder), desc="sorting val", unit="image", disable=None):
        number = int(Path(name).stem.rpartition("_")[2])
        if not 1 <= number <= len(synsets):
            raise ArchiveError(f"{folder / name}: there are labels for 1 to {len(synsets)} only.")
        target = folder / synsets[number - 1]
        target.mkdir(exist_ok=True)
        os.rename(folder / name, target / name)
