"""Download datasets: ``python -m datasets.download NAME... --root DATA`` (``all`` for all).

What a dataset needs is fetched piece by piece from the first source that works, checked, unpacked
beside its place and moved there when complete; what is there already is left alone.  An
interrupted download goes on where it stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError

from tqdm import tqdm

from .archives import ArchiveError, unpack
from .catalogue import find_datasets
from .recipe import DRIVE, Piece, Recipe, Source

ATTEMPTS = 5
TIMEOUT = 60
"""Seconds without a byte after which a connection counts as broken."""


class DownloadError(RuntimeError):
    """A source did not give what was wanted."""


def download(name: str, folder: Path, recipe: Recipe, pause: float = 1.0) -> bool:
    """Fetch what ``folder`` lacks of the dataset ``name``, and say how each piece went.

    ``pause`` is the wait in seconds before the second attempt; it doubles from one to the next.
    Returns True when every piece is there.

    Raises:
        OSError: the folder cannot be made or written, the disk is full, or another download into
            it is running.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / ".download"
    complete = True
    for piece in recipe.pieces:
        label = f"{name}: {', '.join(piece.provides)}"
        absent = [path for path in piece.provides if not os.path.lexists(folder / path)]
        sources = piece.sources
        if recipe.mirror:
            sources += (Source(recipe.mirror, {f"{folder.name}/{p}": p for p in absent}),)
        if not absent:
            print(f"{label}: already there")
        elif not sources:
            complete = False
            print(f"{label}: to be fetched by hand into {folder}. {piece.by_hand}")
        else:
            work.mkdir(exist_ok=True)
            try:
                with _lock(work):
                    _fetch_piece(piece, absent, sources, folder, work, pause)
                print(f"{label}: done")
            except DownloadError as error:
                complete = False
                print(f"{label}: failed. {error}")
    if complete:
        shutil.rmtree(work, ignore_errors=True)
    return complete


def _fetch_piece(
    piece: Piece,
    absent: Sequence[str],
    sources: Sequence[Source],
    folder: Path,
    work: Path,
    pause: float,
) -> None:
    """Bring the ``absent`` paths of a piece into ``folder`` from the first source that works.

    Raises:
        DownloadError: none did.
    """
    for source in sources:
        print(f"fetching {source.url}")
        try:
            fetched = fetch(source, work, pause)
            with tempfile.TemporaryDirectory(dir=work) as temporary:
                unpacked = Path(temporary)
                try:
                    if not source.take:
                        shutil.move(fetched, unpacked / piece.provides[0])
                    elif source.inner:
                        unpack(fetched, {source.inner: ".inner"}, unpacked)
                        unpack(unpacked / ".inner", _only(source.take, absent), unpacked)
                    else:
                        unpack(fetched, _only(source.take, absent), unpacked)
                except ArchiveError:
                    fetched.unlink()
                    raise
                for path in absent:
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    os.rename(unpacked / path, folder / path)
            return
        except (DownloadError, ArchiveError) as error:
            print(f"{source.url}: {error}")
    raise DownloadError(
        f"No source gave it (see above). Put {', '.join(absent)} into {folder} by hand, or run "
        "this again later: what has been fetched is kept."
    )


def _only(take: Mapping[str, str], wanted: Sequence[str]) -> dict[str, str]:
    return {source: target for source, target in take.items() if target in wanted}


def fetch(source: Source, work: Path, pause: float = 1.0) -> Path:
    """Fetch a source's file into the folder ``work``, resuming what an earlier attempt left, and
    return its path.

    Raises:
        DownloadError: the file is not to be had, or its checksum is wrong (it is removed then).
    """
    key = hashlib.sha256(source.url.encode()).hexdigest()[:8]
    path = work / f"{key}-{source.url.rpartition('/')[2].replace(':', '-')}"
    if path.exists():
        return path
    part = path.with_name(path.name + ".part")
    if source.url.startswith(DRIVE):
        _fetch_from_drive(source.url.removeprefix(DRIVE), part)
    else:
        _fetch_over_http(source.url, part, pause)
    with open(part, "rb") as file:
        web_page = file.read(200).lstrip()[:1] == b"<"
        file.seek(0)
        digest = hashlib.sha256()
        while chunk := file.read(2**20):
            digest.update(chunk)
    problem = ""
    if source.sha256 and digest.hexdigest() != source.sha256:
        problem = f"wrong checksum: expected {source.sha256}, got {digest.hexdigest()}"
    elif web_page:
        problem = "a web page came instead of the file; the link may be dead"
    if problem:
        part.unlink()
        raise DownloadError(problem)
    os.replace(part, path)
    return path


def _fetch_from_drive(file_id: str, part: Path) -> None:
    import gdown

    try:
        if gdown.download(id=file_id, output=str(part), resume=True):
            return
        reason = "nothing came"
    except Exception as error:  # gdown's own errors changed their names between its versions
        reason = f"{type(error).__name__}: {error}"
    raise DownloadError(
        f"Google Drive did not give the file ({reason}). It limits downloads; a browser may still "
        f"get https://drive.google.com/uc?id={file_id}"
    )


def _fetch_over_http(url: str, part: Path, pause: float) -> None:
    """Fetch ``url`` into ``part``, going on where it ends if the server still has the same file.

    Raises:
        DownloadError: the server refuses, or the connection keeps breaking.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            _receive(url, part)
            return
        except urllib.error.HTTPError as error:
            reason = f"the server says {error.code} {error.reason}"
            if 400 <= error.code < 500 and error.code not in (408, 416, 429):
                break
            if error.code == 416:
                part.unlink(missing_ok=True)
        except (
            urllib.error.URLError,
            HTTPException,
            ConnectionError,
            TimeoutError,
            SSLError,
        ) as error:
            reason = f"the connection failed ({getattr(error, 'reason', error)})"
    raise DownloadError(reason)


def _receive(url: str, part: Path) -> None:
    """One attempt.  The server's mark of the file's version (ETag or Last-Modified) is kept beside
    the part, so that parts of two versions are never put together."""
    version = part.with_name(part.name + ".version")
    headers = {"User-Agent": "python-datasets-download"}
    if part.exists() and version.exists():
        headers |= {"Range": f"bytes={part.stat().st_size}-", "If-Range": version.read_text()}
    with urllib.request.urlopen(
        urllib.request.Request(url, headers=headers), timeout=TIMEOUT
    ) as response:
        resumed = response.status == 206
        start = part.stat().st_size if resumed else 0
        tag = response.headers.get("ETag", "W/")
        mark = response.headers.get("Last-Modified") if tag.startswith("W/") else tag
        if mark:
            version.write_text(mark)
        else:
            version.unlink(missing_ok=True)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with (
            open(part, "ab" if resumed else "wb") as file,
            tqdm(
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                desc=part.stem,
                disable=None,
            ) as bar,
        ):
            while chunk := response.read(2**18):
                file.write(chunk)
                bar.update(len(chunk))
            if total is not None and file.tell() < total:
                raise ConnectionError(f"it broke off after {file.tell()} of {total} bytes")


@contextlib.contextmanager
def _lock(work: Path) -> Iterator[None]:
    """Keep a second download out of the same folder, for as long as this one lives."""
    import fcntl

    with open(work / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError("another download into it is running") from error
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 0 when all datasets asked for are there, 1 if not, 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m datasets.download", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="Caltech101, dtd, ... or all")
    parser.add_argument("--root", required=True, help="the data root, made if it is not there")
    options = parser.parse_args(arguments)
    root = Path(options.root).expanduser().absolute()
    try:
        chosen = find_datasets(options.names)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    complete = True
    for name, dataset in chosen.items():
        try:
            complete &= download(name, root / dataset.dataset_dir, dataset.recipe)
        except OSError as error:
            print(f"{name}: cannot write into {root / dataset.dataset_dir}: {error}")
            complete = False
    print(f"Look it over with: python -m datasets.check {' '.join(chosen)} --root {root}")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
