"""Check datasets: ``python -m datasets.check [NAME...] --root DATA`` (no name: all).

Says for each what is there, what the published counts are, what is missing or cannot be read,
and what to do next.  ``--pictures FOLDER`` checks people's own pictures.  The exit code is 0 only
if all that was asked for is complete.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tabulate import tabulate

from .catalogue import find_datasets
from .disk import file_digest
from .errors import InputError
from .few_shot import FewShotDataset, find_dataset_dir
from .layout import find_misplaced
from .pictures import NO_RANGE, SIXTEEN_BITS, TOO_LARGE, find_flaws
from .splits import Splits, abbreviate, find_missing

STEPS = {
    NO_RANGE: "Scale these images to 0 to 255 and save them with 8 bits; no run reads them.",
    TOO_LARGE: "Make these images smaller, or cut them.",
}
HEADERS = ("dataset", "complete", "classes", "train", "val", "test")


@dataclass
class Report:
    """What was found of one dataset: counts as shown (``4127 of 4128``), problems (none: it is
    complete), what to do about them, and what else there is to say."""

    name: str
    counts: tuple[str, ...] = ("-",) * 4
    problems: list[str] = field(default_factory=list)
    next_steps: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

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
        splits = dataset.load(folder)
    except (OSError, ValueError, LookupError) as error:
        report.add(str(error), fetch)
        return report
    recipe = dataset.recipe
    _check_split(report, dataset, folder, fetch)
    image_dir = os.path.join(folder, dataset.image_dir)
    _check_images(report, dataset, splits, folder, image_dir, decode)
    published = (recipe.classes, recipe.train, recipe.val, recipe.test)
    report.counts = _compare(splits, published)
    if any("of" in count for count in report.counts):
        report.add(
            "The counts are not the published ones.",
            f"Complete it (docs/datasets.md has the layout), or move {folder} away and {fetch}",
        )
    return report


def check_pictures(
    folder: str, csv_file: str = "", decode: bool = True, class_names_file: str = ""
) -> Report:
    """Look over people's own pictures (see `datasets.my_images`)."""
    from .my_images import MyImages, picture_dir, read_pictures

    report = Report("MyImages")
    try:
        splits = read_pictures(folder, csv_file, class_names_file)
    except (OSError, ValueError) as error:
        report.add(str(error), "See docs/own_pictures.md.")
        return report
    folder = picture_dir(folder, csv_file)
    _check_images(report, MyImages, splits, folder, folder, decode)
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
    report: Report,
    dataset: type[FewShotDataset],
    splits: Splits,
    folder: str,
    image_dir: str,
    decode: bool,
) -> None:
    items = [item for part in splits for item in part or ()]
    try:
        report.remarks += dataset.look_over(splits, folder)
        missing = set(find_missing(items))
    except (OSError, ValueError) as error:
        report.add(str(error), "Repair what this names.")
        return

    def name(paths: Sequence[str]) -> str:
        return abbreviate(os.path.relpath(path, image_dir) for path in paths)

    flaws = {"are missing": sorted(missing)}
    if decode:
        flaws |= find_flaws((i for i in items if i.impath not in missing), report.name)
    sixteen = flaws.pop(SIXTEEN_BITS, [])
    if sixteen:
        report.remarks.append(f"{len(sixteen)} images {SIXTEEN_BITS}: {name(sixteen)}.")
    for flaw, paths in flaws.items():
        if paths:
            step = STEPS.get(flaw, f"Put good copies of these images into {image_dir}.")
            report.add(f"{len(paths)} images {flaw}: {name(paths)}.", step)


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
        return [check_pictures(options.pictures or "", options.csv, decode, options.classnames)]
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
    parser.add_argument("--classnames", default="", help="the class names of own pictures")
    parser.add_argument(
        "--names-only", action="store_true", help="look for the images, but do not open them"
    )
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be printable
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
        for problem in (*report.remarks, *report.problems):
            print(f"\n{report.name}: {problem}")
        for step in report.next_steps:
            if not any(step in problem for problem in report.problems):
                print(f"  next: {step}")
    return 1 if any(report.problems for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
