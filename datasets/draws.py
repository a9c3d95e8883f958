"""Drawing the shots of a run, and keeping the draw with the run."""

from __future__ import annotations

import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from dassl.data.datasets import Datum

from .errors import InputError
from .files import read_text, remove_leftovers, write_json
from .splits import abbreviate, checked_row

VALIDATION_SHOTS = 4
DRAW_FILE = "draw_{name}_{shots}shots.json"
RECORD_FILE = "few_shot_{name}_{subset}_{shots}shots_seed{seed}.json"


def draw_of_run(
    cfg: Any, train: list[Datum], val: list[Datum] | None, image_dir: str
) -> tuple[list[Datum], list[Datum] | None]:
    """The shots of the run that ``cfg`` describes, over all classes.

    They follow from SEED.  A negative one does not say what was drawn, so then the draw itself is
    kept in OUTPUT_DIR (where that folder exists; train.py makes it) and is taken again, from there
    or from RESUME, when the run goes on.

    Raises:
        InputError: DATASET.DRAW names no way to draw, or a kept draw cannot be read or names images
            that are no longer there.
    """
    name, shots = cfg.DATASET.NAME, cfg.DATASET.NUM_SHOTS
    way = cfg.DATASET.get("DRAW", COOP)
    if way not in DRAWS:
        raise InputError(f"DATASET.DRAW is {way!r}; expected one of {', '.join(DRAWS)}.")
    draw = DRAWS[way]
    if cfg.SEED >= 0:
        return draw(train, val, shots, cfg.SEED, name)
    file = DRAW_FILE.format(name=name, shots=shots)
    kept = [os.path.join(folder, file) for folder in (cfg.RESUME, cfg.OUTPUT_DIR) if folder]
    path = next(filter(os.path.isfile, kept), None)
    if path:
        print(f"{name}: SEED is negative; the images are those that the run drew first ({path})")
        drawn = _read_draw(path, train, val, image_dir)
    else:
        drawn = draw(train, val, shots, cfg.SEED, name)
    if os.path.isdir(cfg.OUTPUT_DIR) and not os.path.isfile(kept[-1]):
        remove_leftovers(cfg.OUTPUT_DIR, of=file)
        write_json(_rows(*drawn, image_dir), kept[-1])
    return drawn


def draw_shots(
    train: Sequence[Datum], val: Sequence[Datum] | None, shots: int, seed: int, name: str
) -> tuple[list[Datum], list[Datum] | None]:
    """Draw ``shots`` training and min(shots, 4) validation images per class, as published: train
    first, classes in order of first appearance, from the state that ``random.seed(seed)`` leaves.

    A class with fewer images is used as it is.  The global random state is used, and changed,
    only where ``seed`` is negative; ``val`` None stays None.
    """
    source = random.Random(seed) if seed >= 0 else random
    _say_few(train, shots, name)

    def draw(items: Sequence[Datum], count: int) -> list[Datum]:
        drawn: list[Datum] = []
        for of_class in _by_label(items).values():
            drawn += source.sample(of_class, count) if len(of_class) >= count else of_class
        return drawn

    drawn = draw(train, shots)
    return drawn, None if val is None else draw(val, min(shots, VALIDATION_SHOTS))


def draw_shots_of_linear_probe(
    train: Sequence[Datum], val: Sequence[Datum] | None, shots: int, seed: int, name: str
) -> tuple[list[Datum], list[Datum] | None]:
    """As many as `draw_shots`, drawn as the published linear probe of CLIP does (lpclip): train first,
    labels in ascending order, from the state that ``numpy.random.seed(seed)`` leaves."""
    source = np.random.RandomState(seed) if seed >= 0 else np.random
    _say_few(train, shots, name)
    labels = sorted({item.label for item in train})

    def draw(items: Sequence[Datum], count: int) -> list[Datum]:
        by_label, drawn = _by_label(items), []
        for label in labels:
            of_class = by_label[label]
            if len(of_class) >= count:
                places = source.choice(len(of_class), count, replace=False)
                of_class = [of_class[place] for place in places]
            drawn += of_class
        return drawn

    drawn = draw(train, shots)
    return drawn, None if val is None else draw(val, min(shots, VALIDATION_SHOTS))


COOP, LINEAR_PROBE = "coop", "lpclip"
DRAWS = {COOP: draw_shots, LINEAR_PROBE: draw_shots_of_linear_probe}
"""The values of DATASET.DRAW, by the published code that draws so: CoOp's trainers and what follows
them, and the linear probe beside them."""


def _by_label(items: Iterable[Datum]) -> defaultdict[int, list[Datum]]:
    """Labels in order of first appearance."""
    by_label: defaultdict[int, list[Datum]] = defaultdict(list)
    for item in items:
        by_label[item.label].append(item)
    return by_label


def _say_few(train: Iterable[Datum], shots: int, name: str) -> None:
    few = {c: n for c, n in Counter(i.classname for i in train).items() if n < shots}
    if few:
        print(
            f"{name}: {len(few)} classes have fewer than {shots} training images and are used as "
            f"they are: {abbreviate(f'{c} ({n})' for c, n in few.items())}"
        )


def write_record(cfg: Any, train: list[Datum], val: list[Datum], image_dir: str) -> None:
    """Write what the run trains on beside its log, in the form of a split file, for people to look
    at: `RECORD_FILE` in OUTPUT_DIR, where that folder exists; nothing is read back from it.  One
    that says something else is of a run that began with other images, and is left as it is."""
    if not os.path.isdir(cfg.OUTPUT_DIR):
        return
    options = cfg.DATASET
    file = RECORD_FILE.format(
        name=options.NAME,
        subset=options.get("SUBSAMPLE_CLASSES", "all"),
        shots=options.NUM_SHOTS,
        seed=cfg.SEED,
    )
    path = os.path.join(cfg.OUTPUT_DIR, file)
    rows = _rows(train, val, image_dir)
    remove_leftovers(cfg.OUTPUT_DIR, of=file)
    if not os.path.isfile(path):
        write_json(rows, path)
    elif read_text(path) != json.dumps(rows):
        print(
            f"{options.NAME}: {path} lists other images than are drawn now: the pictures changed "
            "since. It is left as it is"
        )


def _rows(train: list[Datum], val: list[Datum] | None, image_dir: str) -> dict[str, Any]:
    return {
        part: None if items is None else [_row(item, image_dir) for item in items]
        for part, items in (("train", train), ("val", val))
    }


def _row(item: Datum, image_dir: str) -> list:
    return [os.path.relpath(item.impath, image_dir), item.label, item.classname]


def _read_draw(
    path: str, train: list[Datum], val: list[Datum] | None, image_dir: str
) -> tuple[list[Datum], list[Datum] | None]:
    try:
        content = json.loads(read_text(path))
        kept = [checked_row(row) for row in content["train"]]
        kept_val = None if content["val"] is None else [checked_row(r) for r in content["val"]]
        if not kept or (val and not kept_val):
            raise ValueError("it is empty")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} should hold the images that this run drew, and cannot be read "
            f"({type(error).__name__}: {error}). Remove it, or choose another output folder, to "
            "begin with a new draw."
        ) from error

    def look_up(rows: Iterable[tuple], items: list[Datum]) -> list[Datum]:
        listed = [tuple(_row(item, image_dir)) for item in items]
        present = dict(zip(listed, items, strict=True))
        if gone := [row[0] for row in Counter(rows) - Counter(listed)]:
            raise InputError(
                f"{len(gone)} of the images that this run drew ({path}) are not in the data any "
                f"more: {abbreviate(gone)}. Put them back, or choose another output folder."
            )
        return [present[row] for row in rows]

    return look_up(kept, train), None if kept_val is None else look_up(kept_val, val or [])
