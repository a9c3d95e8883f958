"""Unpacking archives that a stranger packed: nothing outside the target, no links, no bombs."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

MAX_MEMBERS = 2_000_000
MAX_GROWTH = 20
"""Unpacked size over packed size, beyond the first `FREE_GROWTH` bytes; photographs stay near 1."""
FREE_GROWTH = 256 * 2**20
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


class ArchiveError(ValueError):
    """The archive is damaged, is not one, or holds something that it should not."""


def unpack(archive: Path, take: Mapping[str, str], into: Path) -> None:
    """Unpack those members of a tar or zip file that lie at or below a path of ``take`` to where
    ``take`` maps it, below the folder ``into``.

    Raises:
        ArchiveError: a member (taken or not) has an absolute path or one with "..", or is a link
            or a device; the unpacked size or the number of members is out of proportion; the
            archive is truncated or damaged; or nothing lies at a path of ``take``.
    """
    budget = FREE_GROWTH + MAX_GROWTH * archive.stat().st_size
    missing = set(take)
    try:
        for count, (name, content) in enumerate(_members(archive)):
            if count >= MAX_MEMBERS:
                raise ArchiveError(f"{archive.name} holds more than {MAX_MEMBERS} members.")
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise ArchiveError(f"{archive.name}: {name!r} points outside of its folder.")
            for source in filter(path.is_relative_to, take):
                missing.discard(source)
                target = into / take[source] / path.relative_to(source)
                if content is None:
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                budget -= _copy(content, target, budget)
    except DAMAGED as error:
        raise ArchiveError(f"{archive.name} is damaged or not an archive: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise ArchiveError(f"{archive.name} is damaged: {error}") from error
    if missing:
        raise ArchiveError(f"{archive.name} does not hold {', '.join(sorted(missing))}.")


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Name and content (None: a folder) of each member."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist():
                _refuse_special(stat.S_IFMT(member.external_attr >> 16), member.filename)
                if member.is_dir():
                    yield member.filename, None
                else:
                    with packed.open(member) as content:
                        yield member.filename, content
        return
    with tarfile.open(archive, "r:*") as packed:
        for member in packed:
            regular = member.isfile() or member.isdir()
            _refuse_special(0 if regular else -1, member.name)
            yield member.name, packed.extractfile(member)


def _refuse_special(kind: int, name: str) -> None:
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"The member {name!r} is a link or a device.")


def _copy(content: IO[bytes], target: Path, budget: int) -> int:
    """Write ``content`` to a new file and return its size in bytes, at most ``budget``."""
    written = 0
    with open(target, "xb") as file:
        while chunk := content.read(2**20):
            written += len(chunk)
            if written > budget:
                raise ArchiveError(
                    f"It unpacks to more than {MAX_GROWTH} times its size, which no set of "
                    "photographs does."
                )
            file.write(chunk)
    return written
