"""Unpacking archives that a stranger packed: nothing outside the target, no links, no bombs, and
nothing in place before the whole archive has been read and its checksums hold."""

from __future__ import annotations

import errno
import lzma
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from tqdm import tqdm

from .disk import writing

MAX_MEMBERS = 2_000_000
MAX_GROWTH = 20
"""Unpacked size over packed size, beyond the first `FREE_GROWTH` bytes; photographs stay near 1."""
FREE_GROWTH = 256 * 2**20
DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    UnicodeError,
)
# a zip's last record and its longest comment; a count of members that stands in another record
_ZIP_END, _IN_ZIP64 = 22 + 0xFFFF, 0xFFFF
CONTRADICTIONS = (FileExistsError, NotADirectoryError, IsADirectoryError)


class ArchiveError(ValueError):
    """The archive is damaged, is not one, or holds something that it should not."""


def unpack(archive: Path | IO[bytes], take: Mapping[str, str], into: Path, name: str = "") -> None:
    """Unpack those members of a tar or zip file that lie at or below a path of ``take`` ("." is
    all of it) to where ``take`` maps it, below the folder ``into``.

    A file that is open, and can seek, will do for ``archive``; ``name`` is what messages call it.
    On an error ``into`` is as it was.

    Raises:
        ArchiveError: a member (taken or not) has an absolute path or one with "..", or is a link
            or a device; the unpacked size or the number of members is out of proportion; the
            archive is truncated or damaged, or a checksum of it is wrong; it holds a path twice;
            or nothing lies at a path of ``take``.
        InputError: the disk is full.
    """
    if isinstance(archive, Path):
        with open(archive, "rb") as file:
            return _unpack_and_move(file, take, into, name or archive.name, on_disk=True)
    _unpack_and_move(archive, take, into, name, on_disk=False)


def _unpack_and_move(
    archive: IO[bytes], take: Mapping[str, str], into: Path, name: str, on_disk: bool
) -> None:
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=".unpacking-") as temporary:
        beside = Path(temporary)
        try:
            _unpack(archive, take, beside, name, on_disk)
        except CONTRADICTIONS as error:
            raise ArchiveError(f"{name} holds {error.filename} twice.") from error
        except DAMAGED as error:
            raise ArchiveError(f"{name} is damaged or not an archive: {error}") from error
        except OSError as error:
            # a damaged position leads to a seek out of the file, which is no fault of the disk
            if error.errno not in (None, errno.EINVAL):
                raise
            raise ArchiveError(f"{name} is damaged: {error}") from error
        for target in set(take.values()):
            (into / target).parent.mkdir(parents=True, exist_ok=True)
            os.rename(beside / target, into / target)


def unpack_nested(archive: Path, into: Path) -> None:
    """Unpack an archive of archives, each ``NAME.tar`` in it to the folder ``into/NAME``.

    Raises:
        ArchiveError, InputError: as `unpack`; ``into`` may hold a part then.
    """
    with open(archive, "rb") as file:
        try:
            for member, open_member in _members(file, FREE_GROWTH):
                name = PurePosixPath(member).stem
                if open_member is None or not name.isalnum():
                    raise ArchiveError(f"{archive.name}: {member!r} is not of the form NAME.tar.")
                with open_member() as inner:
                    unpack(inner, {".": name}, into, member)
        except DAMAGED as error:
            raise ArchiveError(f"{archive.name} is damaged: {error}") from error


def _unpack(
    archive: IO[bytes], take: Mapping[str, str], into: Path, name: str, on_disk: bool
) -> None:
    budget = FREE_GROWTH + MAX_GROWTH * archive.seek(0, os.SEEK_END)
    archive.seek(0)
    missing = set(take)
    members = tqdm(
        _members(archive, budget), f"unpacking {name}", unit="file", leave=False, disable=None
    )
    for count, (member, open_member) in enumerate(members):
        if count >= MAX_MEMBERS:
            raise ArchiveError(f"{name} holds more than {MAX_MEMBERS} members.")
        path = PurePosixPath(member)
        if path.is_absolute() or ".." in path.parts or PureWindowsPath(member).anchor:
            raise ArchiveError(f"{name}: {member!r} points outside of its folder.")
        if "\\" in member:
            raise ArchiveError(f"{name}: {member!r} points outside of its folder on Windows.")
        sources = [source for source in take if path.is_relative_to(source)]
        if not sources and open_member and on_disk:
            # one whose name is damaged would be missed: a zip holds each name twice, and compares them
            open_member().close()
        for source in sources:
            missing.discard(source)
            target = into / take[source] / path.relative_to(source)
            if open_member is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_member() as content:
                budget -= _copy(content, target, budget)
    if missing:
        raise ArchiveError(f"{name} does not hold {', '.join(sorted(missing))}.")


def _stated_count(archive: IO[bytes]) -> int:
    """How many members a zip's end says that it lists. A length that is damaged within the list makes
    one member swallow others, which `zipfile` does not notice."""
    start = max(0, archive.seek(0, os.SEEK_END) - _ZIP_END)
    archive.seek(start)
    end = archive.read()
    return int.from_bytes(end[end.rfind(b"PK\5\6") + 10 :][:2], "little")


def _members(
    archive: IO[bytes], budget: int
) -> Iterator[tuple[str, Callable[[], IO[bytes]] | None]]:
    """Name of each member and what opens it (None: it is a folder); after the last one, the rest
    of the archive has been read and its checksum compared."""
    if archive.read(2) == b"PK":
        with zipfile.ZipFile(archive) as packed:
            listed = packed.infolist()
            if _stated_count(archive) not in (len(listed), _IN_ZIP64):
                raise ArchiveError("The list of the archive's members is damaged.")
            for member in listed:
                # zipfile ends a name where a null character is, and one that ends in / is a folder
                if not member.filename or "\0" in member.orig_filename:
                    raise ArchiveError("A member of the archive has no name, or half of one.")
                if member.is_dir() and member.file_size:
                    raise ArchiveError(f"The folder {member.filename!r} has a content of its own.")
                _refuse_special(stat.S_IFMT(member.external_attr >> 16), member.filename)
                opens = None if member.is_dir() else lambda m=member: packed.open(m)
                yield member.filename, opens
        return
    archive.seek(0)
    with tarfile.open(fileobj=archive, mode="r:*", tarinfo=_StrictHeader) as packed:
        for member in packed:
            regular = member.isfile() or member.isdir()
            _refuse_special(0 if regular else -1, member.name)
            opens = None if member.isdir() else lambda m=member: packed.extractfile(m)
            yield member.name, opens
        while rest := packed.fileobj.read(2**20):  # a gzip's checksum stands behind the tar's end
            budget -= len(rest)
            if budget < 0:
                raise _out_of_proportion()


class _StrictHeader(tarfile.TarInfo):
    """A member's header; one that is damaged or missing is an error, where tarfile takes anything
    behind the first member for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> _StrictHeader:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # the block of zeros with which a tar ends
            raise tarfile.ReadError(
                f"a header is damaged or the end is missing: {error}"
            ) from error


def _refuse_special(kind: int, name: str) -> None:
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"The member {name!r} is a link or a device.")


def _copy(content: IO[bytes], target: Path, budget: int) -> int:
    """Write ``content`` to a new file and return its size in bytes, at most ``budget``."""
    written = 0
    with writing(target), open(target, "xb") as file:
        while chunk := content.read(2**20):
            written += len(chunk)
            if written > budget:
                raise _out_of_proportion()
            file.write(chunk)
    return written


def _out_of_proportion() -> ArchiveError:
    return ArchiveError(
        f"It unpacks to more than {MAX_GROWTH} times its size, which no set of photographs does."
    )
