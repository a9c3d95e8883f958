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
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from .archives import ArchiveError, unpack
from .catalogue import find_datasets
from .disk import file_digest, writing
from .errors import InputError
from .recipe import DRIVE, HUB, SHIPPED, Piece, Recipe, Source
from .web import DownloadError, fetch_file, open_remote

LOCK = "lock"
FILES = (".json", ".txt")
"""Suffixes of those provided paths that are single files; the others are folders."""


def download(name: str, folder: Path, recipe: Recipe, pause: float = 1.0) -> bool:
    """Fetch what ``folder`` lacks of the dataset ``name``, and say how each piece went.

    ``pause`` is the wait in seconds before the second attempt; it doubles from one to the next.
    Returns True when every piece is there.

    Raises:
        InputError: the folder cannot be made or written, the disk is full, or another download
            into it is running.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        incomplete = [piece for piece in recipe.pieces if piece.absent(folder)]
        for piece in recipe.pieces:
            if piece not in incomplete:
                print(f"{_label(name, piece)}: already there")
        work = folder / ".download"
        if not incomplete and not work.exists():
            return True
        work.mkdir(exist_ok=True)
        with _lock(work):
            _clear(
                work, [s for p in incomplete for s in _sources(p, p.absent(folder), recipe, folder)]
            )
            complete = [_complete(name, p, recipe, folder, work, pause) for p in incomplete]
        if all(complete) or {path.name for path in work.iterdir()} <= {LOCK}:
            shutil.rmtree(work, ignore_errors=True)
        return all(complete)
    except OSError as error:
        raise InputError(
            f"cannot write into {folder}: {error}. Pass --root a folder that you may write into."
        ) from error


def _label(name: str, piece: Piece) -> str:
    return f"{name}: {', '.join(piece.provides)}"


def _complete(
    name: str, piece: Piece, recipe: Recipe, folder: Path, work: Path, pause: float
) -> bool:
    """Bring what is absent of ``piece`` into ``folder``, and say how it went."""
    label = _label(name, piece)
    by_hand = f" {piece.by_hand}" if piece.by_hand else ""
    try:
        piece.assemble(folder, work)
        absent = piece.absent(folder)
        sources = _sources(piece, absent, recipe, folder)
        if absent and not sources:
            print(f"{label}: to be fetched by hand into {folder}.{by_hand}")
            return False
        if absent:
            _fetch_piece(piece, absent, sources, folder, work, pause)
        print(f"{label}: done")
        return True
    except (DownloadError, ArchiveError) as error:
        print(f"{label}: failed. {error}{by_hand}")
        return False


def _sources(piece: Piece, absent: Sequence[str], recipe: Recipe, folder: Path) -> list[Source]:
    """The sources of a piece in the order in which they are tried.  The mirror comes last, but
    before whole archives where only files are wanted, which it gives singly."""
    sources = list(piece.sources)
    if recipe.mirror:
        mirror = replace(recipe.mirror, take={f"{folder.name}/{path}": path for path in absent})
        singles = [source for source in sources if not source.take]
        position = len(singles) if _are_files(absent) else len(sources)
        sources.insert(position, mirror)
    return sources


def _are_files(paths: Sequence[str]) -> bool:
    return all(path.endswith(FILES) for path in paths)


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
            with tempfile.TemporaryDirectory(dir=work) as temporary:
                arrived = Path(temporary)
                _obtain(piece, source, absent, work, arrived, pause)
                _compare_sums(piece, absent, arrived)
                for path in absent:
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    os.rename(arrived / path, folder / path)
            return
        except (DownloadError, ArchiveError) as error:
            print(f"{source.url}: {error}")
    raise DownloadError(
        f"No source gave it (see above). Put {', '.join(absent)} into {folder} by hand, or run "
        "this again later: what has been fetched is kept."
    )


def _obtain(
    piece: Piece, source: Source, absent: Sequence[str], work: Path, into: Path, pause: float
) -> None:
    """Bring the ``absent`` paths of a piece from a source into the folder ``into``."""
    take = {inside: path for inside, path in source.take.items() if path in absent}
    kept = _kept(source, work)
    if take and _are_files(absent) and source.url.endswith(".zip") and not kept.exists():
        with open_remote(source.url, pause) as archive:
            unpack(archive, take, into, kept.name)
        return
    fetch(source, work, pause)
    try:
        if not take:
            shutil.move(kept, into / piece.provides[0])
        elif source.inner:
            unpack(kept, {source.inner: ".inner"}, into)
            unpack(into / ".inner", take, into)
        else:
            unpack(kept, take, into)
    except ArchiveError:
        kept.unlink()
        raise


def _compare_sums(piece: Piece, paths: Sequence[str], folder: Path) -> None:
    """Raise DownloadError if one of the ``paths`` in ``folder`` is not what the recipe knows."""
    for path in paths:
        expected = piece.sums.get(path)
        if expected and (found := file_digest(folder / path)) != expected:
            raise DownloadError(f"{path} has a wrong checksum: expected {expected}, got {found}")


def _kept(source: Source, work: Path) -> Path:
    """Where a source's file lies once it has been fetched whole and checked."""
    key = hashlib.sha256(source.url.encode()).hexdigest()[:8]
    return work / f"{key}-{source.url.rpartition('/')[2].replace(':', '-')}"


def _clear(work: Path, sources: Sequence[Source]) -> None:
    """Remove what killed downloads left in ``work``, but for what one of the ``sources`` goes on
    with: its checked file, a part whose version is known, gdown's parts."""
    for path in list(work.iterdir()):
        source = next((s for s in sources if path.name.startswith(_kept(s, work).name)), None)
        part = _kept(source, work).name + ".part" if source else ""
        goes_on = path.name == LOCK or (
            source is not None
            and (
                path == _kept(source, work)
                or source.url.startswith(DRIVE)
                or ((work / part).exists() and (work / f"{part}.version").exists())
            )
        )
        if path.is_dir():
            shutil.rmtree(path)
        elif not goes_on:
            path.unlink(missing_ok=True)


def fetch(source: Source, work: Path, pause: float = 1.0) -> Path:
    """Fetch a source's file into the folder ``work``, resuming what an earlier attempt left, and
    return its path.

    Raises:
        DownloadError: the file is not to be had, or its checksum is wrong (it is removed then).
        InputError: the disk is full.
    """
    path = _kept(source, work)
    if path.exists():
        return path
    part = path.with_name(path.name + ".part")
    stated = ""
    if source.url.startswith(DRIVE):
        _fetch_from_drive(source.url.removeprefix(DRIVE), part)
    elif source.url.startswith(SHIPPED):
        with writing(part):
            shutil.copyfile(Path(__file__).with_name(source.url.removeprefix(SHIPPED)), part)
    else:
        stated = fetch_file(source.url, part, pause)
    problem = _find_problem(source, part, stated)
    part.with_name(part.name + ".version").unlink(missing_ok=True)
    if problem:
        part.unlink()
        raise DownloadError(problem)
    os.replace(part, path)
    return path


def _find_problem(source: Source, path: Path, stated: str) -> str:
    """What is wrong with the file that came from a source whose server states the sha256
    ``stated``; "" if nothing is."""
    with open(path, "rb") as file:
        if file.read(200).lstrip()[:1] == b"<":
            return "a web page came instead of the file; the link may be dead"
    expected = source.sha256 or stated
    if expected:
        found = file_digest(path)
        return "" if found == expected else f"wrong checksum: expected {expected}, got {found}"
    if source.url.startswith(HUB):
        return "the Hub did not state the file's checksum, and no other is known"
    print(f"{source.url}: not compared with a checksum, {source.no_sum or 'none is known'}")
    return ""


def _fetch_from_drive(file_id: str, part: Path) -> None:
    import gdown

    try:
        with writing(part):
            if gdown.download(id=file_id, output=str(part), resume=True):
                return
        reason = "nothing came"
    except InputError:
        raise
    except Exception as error:  # gdown's own errors changed their names between its versions
        reason = f"{type(error).__name__}: {error}"
    raise DownloadError(
        f"Google Drive did not give the file ({reason}). It limits downloads; a browser may still "
        f"get https://drive.google.com/uc?id={file_id}"
    )


@contextlib.contextmanager
def _lock(work: Path) -> Iterator[None]:
    """Keep a second download out of the same folder, for as long as this one lives."""
    try:
        with FileLock(work / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise InputError(
            f"another download into {work.parent} is running. Wait until it has ended."
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 0 when all datasets asked for are there, 1 if not, 2 on a mistake that
    the user can mend, 130 when stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m datasets.download", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="Caltech101, dtd, ... or all")
    parser.add_argument("--root", required=True, help="the data root, made if it is not there")
    options = parser.parse_args(arguments)
    root = Path(options.root).expanduser().absolute()
    status = 0
    try:
        chosen = find_datasets(options.names)
        for name, dataset in chosen.items():
            try:
                complete = download(name, root / dataset.dataset_dir, dataset.recipe)
                status = max(status, 0 if complete else 1)
            except InputError as error:
                print(f"error: {name}: {error}", file=sys.stderr)
                status = 2
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on where it was stopped.", file=sys.stderr)
        return 130
    command = f"python -m datasets.check {' '.join(chosen)} --root {shlex.quote(str(root))}"
    print(f"Look it over with: {command}")
    return status


if __name__ == "__main__":
    sys.exit(main())
