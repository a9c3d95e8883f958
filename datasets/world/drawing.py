"""Drawing a downstream set under the data root, once, in the published layout.

Pictures go to FOLDER/images, the split to FOLDER/split_builtin.json, and last of all FOLDER/drawn.json
says which world they are from. Every file appears whole or not at all, so an interrupted drawing is
gone on with; a process that finds another one drawing the same set waits for it.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import io
import json
import os
from pathlib import Path

from joblib import Parallel, delayed
from tqdm import tqdm

from ..errors import NoPermissionError
from ..files import alone, remove_leftovers, write_bytes, write_json
from .sets import SETS, WorldSet

WORLD = 2
"""Number of this world: raise it whenever a picture changes, and what is on disk is drawn anew."""
FOLDER = "builtin"
"""Folder of all built-in sets under the data root."""
SPLIT = "split_builtin.json"
IMAGES = "images"
MARK = "drawn.json"
BEGUN = ".begun"
PARTS = ("train", "val", "test")
WORTH_A_PROCESS = 500  # pictures; starting a process takes longer than drawing fewer


def image_path(name: str, index: int) -> str:
    """Where a picture lies inside the image folder."""
    return f"{name.replace(' ', '_')}/{index:03d}.png"


def list_split(world_set: WorldSet) -> dict[str, list[list]]:
    """The content of the set's split file."""
    split: dict[str, list[list]] = {part: [] for part in PARTS}
    for label, name in enumerate(world_set.classes):
        index = 0
        for part in PARTS:
            for _ in range(getattr(world_set, part)):
                split[part].append([image_path(name, index), label, name])
                index += 1
    return split


def draw_set(world_set: WorldSet, folder: str | Path, processes: int | None = None) -> None:
    """See to it that a set lies complete in ``folder``.

    Args:
        processes: how many draw at once; None takes what is worth while, at most the processors.

    Raises:
        NoPermissionError: the set is missing or incomplete, and the folder cannot be written.
    """
    folder, split = Path(folder), list_split(world_set)
    if _is_complete(folder, split):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            if not _is_complete(folder, split):
                _draw_missing(world_set, folder, split, processes)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise NoPermissionError(
            f"The built-in set {world_set.key!r} has to be drawn into {folder}, which cannot be "
            f"written ({error}). Give a data root that can be written (--root FOLDER), or have someone "
            "who may write there run `python -m datasets.world.drawing --root FOLDER` once."
        ) from error


def _is_complete(folder: Path, split: dict[str, list[list]]) -> bool:
    """Whether the mark names this world and these pictures, and no picture has gone since."""
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return mark == _mark(split) and (folder / SPLIT).is_file() and not _missing(folder, split)


def _mark(split: dict[str, list[list]]) -> dict[str, object]:
    listed = hashlib.sha256(json.dumps(split).encode()).hexdigest()
    return {"world": WORLD, "pictures": sum(map(len, split.values())), "split_sha256": listed}


def _missing(folder: Path, split: dict[str, list[list]]) -> set[str]:
    paths = {path for items in split.values() for path, _, _ in items}
    present = set()
    for name in {os.path.dirname(path) for path in paths}:
        try:
            present |= {f"{name}/{file}" for file in os.listdir(folder / IMAGES / name)}
        except FileNotFoundError:
            continue
    return paths - present


def _draw_missing(
    world_set: WorldSet, folder: Path, split: dict[str, list[list]], processes: int | None
) -> None:
    images, begun = folder / IMAGES, folder / BEGUN
    images.mkdir(exist_ok=True)
    for written in (folder, *filter(Path.is_dir, images.iterdir())):
        remove_leftovers(written)
    if begun.is_file() and begun.read_text(encoding="utf-8") == str(WORLD):
        wanted = _missing(folder, split)
    else:
        wanted = {path for items in split.values() for path, _, _ in items}
        (folder / MARK).unlink(missing_ok=True)
        write_bytes(str(WORLD).encode(), begun)
    jobs = []
    for label, name in enumerate(world_set.classes):
        (images / os.path.dirname(image_path(name, 0))).mkdir(exist_ok=True)
        indices = [i for i in range(world_set.pictures) if image_path(name, i) in wanted]
        if indices:
            jobs.append(delayed(_draw_class)(world_set, images, label, indices))
    if processes is None:
        processes = min(os.cpu_count() or 1, 1 + len(wanted) // WORTH_A_PROCESS)
    done = Parallel(n_jobs=processes, return_as="generator")(jobs)
    for _ in tqdm(done, f"drawing {world_set.key}", len(jobs), unit="class", disable=None):
        pass
    if hasattr(os, "sync"):
        os.sync()  # all pictures at once; the mark below says that they are on the disk
    write_json(split, folder / SPLIT)
    write_json(_mark(split), folder / MARK)


def _draw_class(world_set: WorldSet, images: Path, label: int, indices: list[int]) -> None:
    for index in indices:
        memory = io.BytesIO()
        world_set.draw(label, index).save(memory, "PNG")
        path = images / image_path(world_set.classes[label], index)
        write_bytes(memory.getvalue(), path, durable=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw every built-in set under a data root.")
    parser.add_argument("--root", type=Path, required=True, help="data root")
    parser.add_argument("--processes", type=int, help="how many draw at once")
    args = parser.parse_args()
    for world_set in SETS.values():
        draw_set(world_set, args.root / FOLDER / world_set.key, args.processes)


if __name__ == "__main__":
    main()
