"""People's own pictures, from class folders or a CSV file, without a line of code."""

from __future__ import annotations

import csv
import os
from typing import Any

from dassl.data.datasets import DATASET_REGISTRY, Datum

from .few_shot import FewShotDataset, Splits, abbreviate, require_images
from .folders import list_classes, read_class_folders, read_lines, split_by_class

PARTS = ("train", "val", "test")
COLUMNS = ({"path", "label"}, {"path", "label", "split"})


@DATASET_REGISTRY.register()
class MyImages(FewShotDataset):
    """Pictures in DATASET.DIR, listed by their folders or by the CSV file DATASET.CSV.

    - DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg (DIR/val likewise, if there is one; test alone
      gives a dataset that can only be tested on); or
    - DIR/CLASS/*.jpg, split 50/20/30 into train, val and test, the same for every seed; or
    - a CSV file with the columns path, label and, if it likes, split (train, val or test); paths
      are relative to DIR, or to the file's own folder where DIR is empty.

    DATASET.CLASSNAMES names a text file with lines ``LABEL readable name`` (split at the first
    tab, or at the first space where there is none); labels it does not list keep their own name.
    DATASET.ROOT is not used.

    Raises:
        FileNotFoundError, NotADirectoryError, PermissionError: something cannot be found or read.
        ValueError: the CSV or the class folders cannot be used; the message says where.
    """

    def __init__(self, cfg: Any) -> None:
        options = cfg.DATASET
        self.dataset_dir = self.image_dir = os.path.abspath(
            os.path.expanduser(options.get("DIR", "") or os.path.dirname(options.get("CSV", "")))
        )
        splits = read_pictures(
            options.get("DIR", ""), options.get("CSV", ""), options.get("CLASSNAMES", "")
        )
        self.set_up(cfg, splits)


def read_pictures(directory: str, csv_file: str = "", class_names_file: str = "") -> Splits:
    """The pictures that `MyImages` describes; all of them exist."""
    directory, csv_file, class_names_file = (
        os.path.abspath(os.path.expanduser(path)) if path else ""
        for path in (directory, csv_file, class_names_file)
    )
    if csv_file:
        directory = directory or os.path.dirname(csv_file)
        splits = _read_csv(csv_file, directory)
        require_images(splits, directory, "MyImages")
    elif directory:
        splits = _read_folders(directory)
    else:
        raise FileNotFoundError(
            "MyImages does not know where the pictures are. Pass DATASET.DIR FOLDER (class "
            "folders) or DATASET.CSV FILE (path,label[,split]) after the other flags."
        )
    return _rename(splits, class_names_file) if class_names_file else splits


def _read_folders(directory: str) -> Splits:
    classes = list_classes(directory)
    given = [
        part
        for part in PARTS
        if part in classes and any(e.is_dir() for e in os.scandir(os.path.join(directory, part)))
    ]
    if not given:
        return split_by_class(read_class_folders(directory))
    if "test" not in given:
        raise FileNotFoundError(
            f"{directory} has {' and '.join(given)}/, but no test/ with class folders. Add "
            f"{directory}/test/CLASS/*.jpg, or put the class folders right into {directory} to "
            "have them split."
        )
    classes = list_classes(os.path.join(directory, given[0]))
    parts = {}
    for part in given:
        folder = os.path.join(directory, part)
        of_part = list_classes(folder)
        if strange := [name for name in of_part if name not in classes]:
            raise ValueError(
                f"{folder} holds classes that {directory}/{given[0]} does not: "
                f"{abbreviate(strange)}. Every class needs pictures in {given[0]}/."
            )
        labels = {name: label for label, name in enumerate(classes)}
        parts[part] = [
            Datum(impath=item.impath, label=labels[item.classname], classname=item.classname)
            for item in read_class_folders(folder, of_part)
        ]
    return Splits(*(parts.get(part, []) for part in PARTS))


def _read_csv(path: str, directory: str) -> Splits:
    rows = []
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if set(columns) not in COLUMNS:
            raise ValueError(
                f"{path} has the columns {', '.join(columns) or '(none)'}; its first line must be "
                "path,label or path,label,split."
            )
        for row in reader:
            if None in row or not all(row.values()) or row.get("split", "train") not in PARTS:
                raise ValueError(
                    f"{path}, line {reader.line_num}: expected {','.join(columns)} with nothing "
                    "empty and split one of train, val, test."
                )
            rows.append(row)
    names = {row["label"] for row in rows}
    numbers = all(name.isdecimal() for name in names)
    labels = {name: i for i, name in enumerate(sorted(names, key=int if numbers else None))}
    items = [
        Datum(
            impath=os.path.normpath(os.path.join(directory, row["path"])),
            label=labels[row["label"]],
            classname=row["label"],
        )
        for row in rows
    ]
    if "split" not in columns:
        return split_by_class(items)
    return Splits(
        *([i for i, row in zip(items, rows, strict=True) if row["split"] == p] for p in PARTS)
    )


def _rename(splits: Splits, path: str) -> Splits:
    names = {}
    for line in read_lines(path):
        label, separator, name = line.partition("\t" if "\t" in line else " ")
        if not separator:
            raise ValueError(f"{path}: the line {line!r} is not of the form LABEL readable name.")
        names[label] = name.strip()
    used = {item.classname for part in splits for item in part or ()}
    if not used & names.keys():
        raise ValueError(
            f"{path} names none of the classes ({abbreviate(sorted(used))}); its lines start with "
            f"{abbreviate(names)}. Each line is LABEL readable name."
        )
    return Splits(
        *(
            [
                Datum(impath=i.impath, label=i.label, classname=names.get(i.classname, i.classname))
                for i in part
            ]
            for part in splits
        )
    )
