"""A labelled image, and a dataset of them."""

from __future__ import annotations

import gzip
import os
import random
import tarfile
import zipfile
import zlib
from collections.abc import Sequence

from dassl.utils import InputError, download_url

__all__ = ["DatasetBase", "Datum"]


class Datum:
    """One labelled image.

    Args:
        impath: path of the image file.
        label: class, counted from 0.
        domain: domain, counted from 0.
        classname: name of the class.

    Raises:
        TypeError: ``impath`` is not a string.
    """

    def __init__(
        self, impath: str = "", label: int = 0, domain: int = 0, classname: str = ""
    ) -> None:
        if not isinstance(impath, str):
            raise TypeError(
                f"Datum takes the path of an image as a string, but got {type(impath).__name__}: "
                f"{impath!r}"
            )
        self._impath = impath
        self._label = label
        self._domain = domain
        self._classname = classname

    @property
    def impath(self) -> str:
        """Path of the image file."""
        return self._impath

    @property
    def label(self) -> int:
        """Class, counted from 0."""
        return self._label

    @property
    def domain(self) -> int:
        """Domain, counted from 0."""
        return self._domain

    @property
    def classname(self) -> str:
        """Name of the class."""
        return self._classname

    def __repr__(self) -> str:
        return (
            f"Datum(impath={self.impath!r}, label={self.label!r}, domain={self.domain!r}, "
            f"classname={self.classname!r})"
        )


class DatasetBase:
    """Lists of :class:`Datum` for training, validation and test.

    The classes are those of ``train_x``; a dataset that is only tested on passes its test images
    as ``train_x`` too.

    Args:
        train_x: labelled training images.
        train_u: unlabelled training images, or ``None``.
        val: validation images, or ``None``.
        test: test images.
    """

    # The folder under DATASET.ROOT, and the names of the domains; set by subclasses.
    dataset_dir: str = ""
    domains: Sequence[str] = ()

    def __init__(
        self,
        train_x: list[Datum] | None = None,
        train_u: list[Datum] | None = None,
        val: list[Datum] | None = None,
        test: list[Datum] | None = None,
    ) -> None:
        self._train_x = train_x
        self._train_u = train_u
        self._val = val
        self._test = test
        self._num_classes = self.get_num_classes(train_x or [])
        self._lab2cname, self._classnames = self.get_lab2cname(train_x or [])

    @property
    def train_x(self) -> list[Datum] | None:
        """Labelled training images."""
        return self._train_x

    @property
    def train_u(self) -> list[Datum] | None:
        """Unlabelled training images."""
        return self._train_u

    @property
    def val(self) -> list[Datum] | None:
        """Validation images."""
        return self._val

    @property
    def test(self) -> list[Datum] | None:
        """Test images."""
        return self._test

    @property
    def lab2cname(self) -> dict[int, str]:
        """Class name of each label."""
        return self._lab2cname

    @property
    def classnames(self) -> list[str]:
        """Class names in the order of the labels."""
        return self._classnames

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self._num_classes

    @staticmethod
    def get_num_classes(data_source: Sequence[Datum]) -> int:
        """The largest label plus one."""
        return max((item.label for item in data_source), default=-1) + 1

    @staticmethod
    def get_lab2cname(data_source: Sequence[Datum]) -> tuple[dict[int, str], list[str]]:
        """Class name of each label, and the names in the order of the labels."""
        mapping = {item.label: item.classname for item in data_source}
        return mapping, [mapping[label] for label in sorted(mapping)]

    def check_input_domains(
        self, source_domains: Sequence[str], target_domains: Sequence[str]
    ) -> None:
        """Check the configured domains.

        Raises:
            InputError: no source domain, or one that the dataset does not have.
        """
        if len(source_domains) == 0:
            raise InputError(
                "DATASET.SOURCE_DOMAINS is empty; name at least one domain (--source-domains)"
            )
        self.is_input_domain_valid(source_domains)
        self.is_input_domain_valid(target_domains)

    def is_input_domain_valid(self, input_domains: Sequence[str]) -> None:
        """Check that the dataset has these domains.

        Raises:
            InputError: it does not.
        """
        for domain in input_domains:
            if domain not in self.domains:
                raise InputError(
                    f'Input domain must belong to {list(self.domains)}, but got "{domain}"'
                )

    def download_data(self, url: str, dst: str, from_gdrive: bool = True) -> None:
        """Download an archive and unpack it in the folder it lies in.

        Args:
            url: an address, or a Google Drive link or file id.
            dst: where the archive (tar, tar.gz, tgz, zip) is put.
            from_gdrive: ``url`` is Google Drive's.

        Raises:
            InputError: the download failed, or what came is not an archive.
        """
        download_url(url, dst, from_gdrive=from_gdrive)
        print("Extracting file ...")
        folder = os.path.dirname(dst) or "."
        try:
            _unpack(dst, folder)
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise InputError(
                f'What came from "{url}" and lies at "{dst}" cannot be unpacked '
                f"({str(error).splitlines()[0]}). The link may be dead or limited: fetch the archive "
                "by hand."
            ) from error
        print(f"File extracted to {folder}")

    def generate_fewshot_dataset(
        self, *data_sources: list[Datum], num_shots: int = -1, repeat: bool = False
    ) -> list[Datum] | tuple[list[Datum], ...] | list[list[Datum]]:
        """Draw ``num_shots`` images of every class from each source.

        The draw is Python's ``random.sample`` for one class after the other, in the order in which
        the classes first appear, so that it follows from ``random.seed`` alone.

        Args:
            data_sources: lists of images.
            num_shots: images of each class; below 1 the sources are returned as they are.
            repeat: draw with replacement for a class that has fewer images than that; otherwise it
                keeps all it has.

        Returns:
            One list for one source, else one for each.
        """
        if num_shots < 1:
            return data_sources[0] if len(data_sources) == 1 else data_sources
        print(f"Creating a {num_shots}-shot dataset")
        drawn = [self._draw(source, num_shots, repeat) for source in data_sources]
        return drawn[0] if len(drawn) == 1 else drawn

    def _draw(self, data_source: list[Datum], num_shots: int, repeat: bool) -> list[Datum]:
        dataset = []
        for items in self.split_dataset_by_label(data_source).values():
            if len(items) >= num_shots:
                dataset.extend(random.sample(items, num_shots))
            elif repeat:
                dataset.extend(random.choices(items, k=num_shots))
            else:
                dataset.extend(items)
        return dataset

    def split_dataset_by_label(self, data_source: Sequence[Datum]) -> dict[int, list[Datum]]:
        """The images of each label, labels in the order of first appearance."""
        output: dict[int, list[Datum]] = {}
        for item in data_source:
            output.setdefault(item.label, []).append(item)
        return output

    def split_dataset_by_domain(self, data_source: Sequence[Datum]) -> dict[int, list[Datum]]:
        """The images of each domain, domains in the order of first appearance."""
        output: dict[int, list[Datum]] = {}
        for item in data_source:
            output.setdefault(item.domain, []).append(item)
        return output


def _unpack(archive_path: str, folder: str) -> None:
    """Unpack an archive, after all checksums that it has were compared."""
    if zipfile.is_zipfile(archive_path):
        with zipfile.ZipFile(archive_path) as archive:
            if wrong := archive.testzip():
                raise zipfile.BadZipFile(f"the checksum of {wrong} is wrong")
            archive.extractall(folder)
        return
    with open(archive_path, "rb") as stream:
        is_gzip = stream.read(2) == b"\x1f\x8b"
    if is_gzip:
        # tarfile stops before the checksum, which stands at the end.
        with gzip.open(archive_path) as stream:
            while stream.read(2**20):
                pass
    with tarfile.open(archive_path) as archive:
        # "data": nothing is written outside the folder.
        archive.extractall(folder, filter="data")
