"""People's own pictures, from class folders or a CSV file, without a line of code."""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dassl.data.datasets import DATASET_REGISTRY, Datum

from .class_names import has_control_character
from .errors import InputError, MissingError
from .few_shot import FewShotDataset
from .files import read_text
from .folders import (
    has_images,
    list_classes,
    list_folders,
    read_class_folders,
    read_lines,
    say_loose_images,
    split_by_class,
    split_validation,
)
from .splits import PARTS, Splits, abbreviate, part_of

HELD_OUT = 0.3
"""The share of the training pictures that serves as test, as it does where all are split."""
COLUMNS = (["label", "path"], ["label", "path", "split"])


@DATASET_REGISTRY.register()
class MyImages(FewShotDataset):
    """Pictures in DATASET.DIR, listed by their folders or by the CSV file DATASET.CSV.

    - DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg (DIR/val likewise, if there is one; test alone
      gives a dataset that can only be tested on; without test a part of train is held out for it,
      the same for every seed); or
    - DIR/CLASS/*.jpg, split 50/20/30 into train, val and test, the same for every seed; or
    - a CSV file with the columns path, label and, if it likes, split (train, val or test); paths
      are relative to DIR, or to the file's own folder where DIR is empty.

    DATASET.CLASSNAMES names a text file with lines ``LABEL readable name`` (split at the first
    tab, or at the first space where there is none); labels it does not list keep their own name.
    DATASET.ROOT is not used.

    Raises:
        InputError: something cannot be found or read, or the CSV or the class folders cannot be
            used; the message says where.
    """

    own_pictures = True

    def __init__(self, cfg: Any) -> None:
        options = cfg.DATASET
        directory, csv_file = options.get("DIR", ""), options.get("CSV", "")
        self.dataset_dir = self.image_dir = picture_dir(directory, csv_file)
        if directory and not csv_file:
            _refuse_within(self.dataset_dir, cfg.OUTPUT_DIR)
        splits = read_pictures(directory, csv_file, options.get("CLASSNAMES", ""))
        self.set_up(cfg, splits)

    @classmethod
    def advice(cls) -> str:
        return (
            "`python -m datasets.check --pictures FOLDER` (`--csv FILE` with a CSV file) lists "
            "them all."
        )


def picture_dir(directory: str, csv_file: str = "") -> str:
    """The folder that pictures are looked for in."""
    return _full(directory) or os.path.dirname(_full(csv_file))


def read_pictures(directory: str, csv_file: str = "", class_names_file: str = "") -> Splits:
    """The pictures that `MyImages` describes; those of a CSV file are not looked for on disk."""
    folder = picture_dir(directory, csv_file)
    if csv_file:
        splits = _read_csv(_full(csv_file), folder)
    elif directory:
        splits = _read_folders(_unwrap(folder))
    else:
        raise MissingError(
            "MyImages does not know where the pictures are. Pass DATASET.DIR FOLDER (class "
            "folders) or DATASET.CSV FILE (path,label[,split]) after the other flags."
        )
    if class_names_file:
        splits = _rename(splits, _full(class_names_file))
    names = {item.classname for part in splits for item in part}
    if strange := [ascii(name) for name in sorted(names) if not name.isprintable()]:
        print(
            f"MyImages: these class names hold what cannot be printed: {abbreviate(strange)}. The "
            "text encoder makes little of that; DATASET.CLASSNAMES or a CSV file give better names."
        )
    return splits


def _refuse_within(pictures: str, output: str) -> None:
    """A run's folder among class folders would be one of them; beside train/ and test/ it is not."""
    place, home = Path(output).resolve(), Path(pictures).resolve()
    if not output or not place.is_relative_to(home) or not home.is_dir():
        return
    has_parts = any(part_of(name) for name in os.listdir(home))
    if not has_parts or place == home or part_of(place.relative_to(home).parts[0]):
        raise InputError(
            f"the output folder {output} lies among the pictures in {pictures}, where folders are "
            "classes: give an --output-dir elsewhere"
        )


def _full(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path)) if path else ""


def _unwrap(directory: str) -> str:
    """Enter folders that hold nothing but one folder of folders, as unpacked archives often do."""
    while len(folders := list_classes(directory)) == 1 and not part_of(folders[0]):
        inner = os.path.join(directory, folders[0])
        with os.scandir(inner) as entries:
            files = [e.name for e in entries if not e.is_dir() and not e.name.startswith(".")]
        if files or not list_folders(inner):
            break
        print(f"MyImages: {directory} holds the one folder {folders[0]}, which is read instead")
        directory = inner
    return directory


def _read_folders(directory: str) -> Splits:
    given = _find_parts(directory)
    if not given:
        classes = _in_order(list_classes(directory), directory)
        return split_by_class(read_class_folders(directory, classes))
    first = given.get("train") or given.get("test")
    if not first:
        raise MissingError(
            f"{directory} has {given['val']}/, but neither train/ nor test/ with class folders. Add "
            f"{directory}/train/CLASS/*.jpg, or put the class folders right into {directory} to have "
            "them split."
        )
    classes = _in_order(
        list_classes(os.path.join(directory, first)), os.path.join(directory, first)
    )
    labels = {name: label for label, name in enumerate(classes)}
    parts = {}
    for part, name in given.items():
        folder = os.path.join(directory, name)
        of_part = list_classes(folder)
        if strange := [each for each in of_part if each not in labels]:
            raise InputError(
                f"{folder} holds classes that {directory}/{first} does not: "
                f"{abbreviate(strange)}. Every class needs pictures in {first}/."
            )
        parts[part] = [
            Datum(impath=item.impath, label=labels[item.classname], classname=item.classname)
            for item in read_class_folders(folder, sorted(of_part, key=labels.get))
        ]
    if "test" not in given:
        print(f"MyImages: {directory} has no test/: {_hold_out(parts, given['train'])}")
    return Splits(*(parts.get(part, []) for part in PARTS))


def _hold_out(parts: dict[str, list[Datum]], folder: str) -> str:
    """Move pictures of the training part into those that are not given; says how many."""
    total = len(parts["train"])
    if "val" in parts:
        names = {item.classname for item in parts["train"]}
        parts["train"], parts["test"] = split_validation(parts["train"], HELD_OUT)
        if single := sorted(names - {item.classname for item in parts["test"]}):
            raise InputError(
                f"{folder}/ has one picture of {abbreviate(single)}, too few to hold some out for "
                "test. Add pictures, or give a test/."
            )
        held_out = f"{len(parts['test'])} are held out for it"
    else:
        parts["train"], parts["val"], parts["test"] = split_by_class(parts["train"])
        held_out = f"{len(parts['test'])} are held out for it and {len(parts['val'])} for val"
    return (
        f"of the {total} pictures in {folder}/ {held_out}, in each class, the same for every seed"
    )


def _find_parts(directory: str) -> dict[str, str]:
    """The folder of each part that ``directory`` has; none where it holds the classes itself."""
    by_part: dict[str, list[str]] = defaultdict(list)
    others = []
    for name in list_classes(directory):
        part = part_of(name)
        # a folder without folders may be a class of that name, such as the vehicle
        if part and list_folders(os.path.join(directory, name)):
            by_part[part].append(name)
        else:
            others.append(name)
    for names in by_part.values():
        if len(names) > 1:
            raise InputError(
                f"{directory} has {' and '.join(names)}, which mean the same. Keep one of them."
            )
    if others and not by_part and all(map(part_of, others)):
        raise InputError(
            f"{directory}: {' and '.join(others)} hold pictures but no class folders. Put the pictures "
            f"into {directory}/{others[0]}/CLASS, or list them in a CSV file."
        )
    if by_part:
        say_loose_images(directory)
    if len(by_part) == 1 and (
        classes := [each for each in others if _has_pictures(directory, each)]
    ):
        (part,) = by_part.values()
        raise InputError(
            f"{directory}: {part[0]} holds class folders, and beside it are pictures in "
            f"{abbreviate(classes)}: is it a part of the data or a class? Move the others away, or "
            f"give {part[0]} another name, or no folders."
        )
    if by_part and others:
        print(
            f"MyImages: {directory}: left out, neither train, val nor test with class folders: "
            f"{abbreviate(others)}"
        )
    return {part: by_part[part][0] for part in PARTS if part in by_part}


def _has_pictures(directory: str, name: str) -> bool:
    folder = os.path.join(directory, name)
    return not list_folders(folder) and has_images(folder)


def _in_order(labels: Iterable[str], where: str) -> list[str]:
    """Class labels in the order in which they are numbered: by their names, or by their values
    where all are whole numbers.

    Raises:
        InputError: two labels are one number, such as 1 and 01.
    """
    labels = sorted(labels)
    if not all(label.isdecimal() for label in labels):
        return labels
    by_value: dict[int, list[str]] = defaultdict(list)
    for label in labels:
        by_value[int(label)].append(label)
    if alike := [names for names in by_value.values() if len(names) > 1]:
        raise InputError(
            f"{where}: the labels {' and '.join(alike[0])} are one number. Write them alike if they "
            "are one class; otherwise give names, not numbers."
        )
    return [by_value[value][0] for value in sorted(by_value)]


def _read_csv(path: str, directory: str) -> Splits:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    columns: list[str] = []
    rows = []
    try:
        for cells in reader:
            if not any(map(str.strip, cells)):
                continue
            if not columns:
                columns = [cell.strip() for cell in cells]
                if sorted(columns) not in COLUMNS:
                    break
                continue
            row = dict(zip(columns, cells, strict=False))
            label, part = row.get("label", "").strip(), part_of(row.get("split", "train").strip())
            if len(cells) != len(columns) or not (row["path"].strip() and label and part):
                raise InputError(
                    f"{path}, line {reader.line_num}: expected {','.join(columns)} with nothing "
                    "empty and split one of train, val, test."
                )
            rows.append((row["path"], label, part))
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: {error}. Save it as a CSV file again."
        ) from error
    if sorted(columns) not in COLUMNS:
        raise InputError(
            f"{path} has the columns {', '.join(columns) or '(none)'}; its first line must be "
            "path,label or path,label,split."
        )
    numbers = {label: i for i, label in enumerate(_in_order({row[1] for row in rows}, path))}
    parts: dict[str, list[Datum]] = {part: [] for part in PARTS}
    for image, label, part in rows:
        full = os.path.normpath(os.path.join(directory, image))
        parts[part].append(Datum(impath=full, label=numbers[label], classname=label))
    return Splits(**parts) if "split" in columns else split_by_class(parts["train"])


def _rename(splits: Splits, path: str) -> Splits:
    names: dict[str, str] = {}
    for line in read_lines(path):
        label, separator, name = line.partition("\t" if "\t" in line else " ")
        label, name = label.strip(), name.strip()
        if not separator:
            raise InputError(f"{path}: the line {line!r} is not of the form LABEL readable name.")
        if has_control_character(name):
            raise InputError(
                f"{path}: the line {line!r} has a second tab or another control character. Put one "
                "label with its name on a line."
            )
        if names.setdefault(label, name) != name:
            raise InputError(
                f"{path} names {label!r} twice, {names[label]!r} and {name!r}. Keep one line."
            )
    used = {item.classname for part in splits for item in part}
    if not used & names.keys():
        raise InputError(
            f"{path} names none of the classes ({abbreviate(sorted(used))}); its lines start with "
            f"{abbreviate(names)}. Each line is LABEL readable name."
        )
    if unused := [label for label in names if label not in used]:
        print(f"MyImages: {path} names what is no class: {abbreviate(unused)}")
    return Splits(
        *(
            [
                Datum(impath=i.impath, label=i.label, classname=names.get(i.classname, i.classname))
                for i in part
            ]
            for part in splits
        )
    )
