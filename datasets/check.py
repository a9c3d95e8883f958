"""Check datasets: ``python -m datasets.check [NAME...] --root DATA`` (no name: all).

Says for each what is there, what the published counts are, what is missing or cannot be read,
and what to do next.  ``--pictures FOLDER`` checks people's own pictures.  The exit code is 0 only
if all that was asked for is complete.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from dassl.data.datasets import Datum
from PIL import Image
from tabulate import tabulate
from tqdm import tqdm

from .catalogue import find_datasets
from .disk import file_digest
from .errors import InputError
from .few_shot import (
    FewShotDataset,
    Splits,
    abbreviate,
    check_classes,
    find_dataset_dir,
    find_missing,
)
from .layout import find_misplaced

AT_ONCE = 10_000
"""Images queued for decoding at a time, so that a million of them do not fill the memory."""
HEADERS = ("dataset", "complete", "classes", "train", "val", "test")


@dataclass
class Report:
    """What was found of one dataset: counts as shown (``4127 of 4128``), problems (none: it is
    complete), and what to do about them."""

    name: str
    counts: tuple[str, ...] = ("-",) * 4
    problems: list[str] = field(default_factory=list)
    next_steps: list[str] = field(default_factory=list)

    def add(self, problem: str, next_step: str) -> None:
        """Note a problem and what to do about it."""
        self.problems.append(problem)
        if next_step not in self.next_steps:
            self.next_steps.append(next_step)


def check(name: str, dataset: type[FewShotDataset], root: str, decode: bool = True) -> Report:
    """Look over the dataset ``name`` below the data root, opening every image if ``decode``."""
    report = Report(name)
    fetch = f"python -m datasets.download {name} --root {shlex.quote(root)}"
    if misplaced := find_misplaced(root, name, dataset):
        for problem, next_step in misplaced:
            report.add(problem, next_step)
        return report
    try:
        folder = find_dataset_dir(root, dataset.dataset_dir, name)
        splits = dataset.read(folder)
    except (OSError, ValueError, LookupError) as error:
        report.add(str(error), fetch)
        return report
    recipe = dataset.recipe
    _check_split(report, dataset, folder, fetch)
    image_dir = os.path.join(folder, dataset.image_dir)
    _check_images(report, splits, image_dir, dataset.unique_class_names, decode)
    published = (recipe.classes, recipe.train, recipe.val, recipe.test)
    report.counts = _compare(splits, published)
    if any("of" in count for count in report.counts):
        report.add(
            "The counts are not the published ones.",
            f"Complete it (docs/datasets.md has the layout), or move {folder} away and {fetch}",
        )
    return report


def check_pictures(folder: str, csv_file: str = "", decode: bool = True) -> Report:
    """Look over people's own pictures (see `datasets.my_images`)."""
    from .my_images import read_pictures

    report = Report("MyImages")
    try:
        splits = read_pictures(folder, csv_file)
    except (OSError, ValueError) as error:
        report.add(str(error), "See docs/own_pictures.md.")
        return report
    _check_images(report, splits, folder or os.path.dirname(csv_file), True, decode)
    report.counts = _compare(splits, None)
    return report


def _check_split(report: Report, dataset: type[FewShotDataset], folder: str, fetch: str) -> None:
    """Look for the split file, and compare what is there with the published sums."""
    if dataset.split_file and not os.path.isfile(os.path.join(folder, dataset.split_file)):
        report.add(
            f"There is no {dataset.split_file}: a split is made, and results are not comparable "
            "with published ones.",
            fetch,
        )
    for name, expected in dataset.recipe.sums.items():
        path = Path(folder, name)
        if path.is_file() and file_digest(path) != expected:
            report.add(f"{path} differs from the published split.", f"Move it away, then {fetch}")


def _check_images(
    report: Report, splits: Splits, image_dir: str, unique_names: bool, decode: bool
) -> None:
    items = [item for part in splits for item in part or ()]
    try:
        check_classes(splits, report.name, unique_names)
        missing = set(find_missing(items))
    except (OSError, ValueError) as error:
        report.add(str(error), "Repair what this names.")
        return
    there = [item for item in items if item.impath not in missing]
    unreadable = find_unreadable(there, report.name) if decode else []
    for problem, paths in (("are missing", sorted(missing)), ("cannot be read", unreadable)):
        if paths:
            named = abbreviate(os.path.relpath(path, image_dir) for path in paths)
            report.add(
                f"{len(paths)} images {problem}: {named}.",
                f"Put good copies of these images into {image_dir}.",
            )


def find_unreadable(items: Iterable[Datum], name: str) -> list[str]:
    """Paths of the images that cannot be decoded to the end, in order; shows a progress bar."""
    paths = [item.impath for item in items]
    unreadable = []
    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=len(paths), desc=name, unit="image", disable=None) as bar,
    ):
        for start in range(0, len(paths), AT_ONCE):
            some = paths[start : start + AT_ONCE]
            for path, is_good in zip(some, pool.map(_is_readable, some), strict=True):
                bar.update()
                if not is_good:
                    unreadable.append(path)
    return unreadable


def _is_readable(path: str) -> bool:
    try:
        with Image.open(path) as image:
            image.draft("RGB", (1, 1))  # reads a JPEG to its end, at an eighth of its size
            image.load()
    except Exception:  # Pillow's decoders raise anything, from OSError to SyntaxError
        return False
    return True


def _compare(splits: Splits, published: Sequence[int] | None) -> tuple[str, ...]:
    labels = {item.label for part in splits for item in part or ()}
    counts = [len(labels), *(len(part or ()) for part in splits)]
    return tuple(
        str(count) if count == expected else f"{count} of {expected}"
        for count, expected in zip(counts, published or counts, strict=True)
    )


def _look_over(options: argparse.Namespace) -> list[Report]:
    """What the command's options ask for.

    Raises:
        InputError: a dataset is unknown, or there is no such folder or file.
    """
    decode = not options.names_only
    for flag, path, exists in (
        ("--pictures", options.pictures, os.path.isdir),
        ("--csv", options.csv, os.path.isfile),
        ("--root", options.root, os.path.isdir),
    ):
        if path and not exists(os.path.expanduser(path)):
            kind = "file" if flag == "--csv" else "folder"
            there = (
                "is no " if os.path.lexists(os.path.expanduser(path)) else "does not exist as a "
            )
            raise InputError(f"{path} {there}{kind}. {flag} names one that is there.")
    if options.pictures or options.csv:
        return [check_pictures(options.pictures or "", options.csv, decode)]
    root = os.path.abspath(os.path.expanduser(options.root))
    chosen = find_datasets(options.names)
    return [check(name, dataset, root, decode) for name, dataset in chosen.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 0 when all is complete, 1 if not, 2 on a mistake that the user can
    mend, 130 when stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m datasets.check", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="Caltech101, dtd, ...; none: all")
    parser.add_argument("--root", help="the data root")
    parser.add_argument("--pictures", metavar="FOLDER", help="check own pictures instead")
    parser.add_argument("--csv", default="", help="the CSV file of own pictures")
    parser.add_argument(
        "--names-only", action="store_true", help="look for the images, but do not open them"
    )
    options = parser.parse_args(arguments)
    if not (options.root or options.pictures or options.csv):
        parser.error("pass --root DATA, or --pictures FOLDER for own pictures")
    try:
        reports = _look_over(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    rows = [(r.name, "no" if r.problems else "yes", *r.counts) for r in reports]
    print(tabulate(rows, HEADERS, disable_numparse=True))
    for report in reports:
        for problem in report.problems:
            print(f"\n{report.name}: {problem}")
        for step in report.next_steps:
            if not any(step in problem for problem in report.problems):
                print(f"  next: {step}")
    return 1 if any(report.problems for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
