"""Text files that people write: split files, CSVs, lists of class names, configurations."""

from __future__ import annotations

import ast
import csv
import io
import json
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml
from dassl.data.datasets import build_dataset
from yacs.config import CfgNode

import train
from datasets.synsets import read_class_names

from .mutations import flat, of_bytes, of_encoding, of_tree
from .readers import Impossible, Reader, ToBeSaid
from .world import CLASSES, World

PARTS = ("train", "val", "test")


class Item(NamedTuple):
    """A picture of a list: its path as the operating system resolves it, label and class name."""

    path: str
    label: int
    name: str


def own_pictures(world: World, folder: Path, pictures: Path) -> CfgNode:
    """A configuration whose dataset is a folder of class folders, all pictures of it."""
    settings = {"DATASET.NAME": "MyImages", "DATASET.DIR": str(pictures), "DATASET.NUM_SHOTS": "-1"}
    arguments = world.arguments("CoOp", folder / "output", settings=settings)
    return train.configure(train.parse_arguments(arguments))


def with_options(cfg: CfgNode, **options: str) -> CfgNode:
    """A copy with other values below DATASET."""
    changed = cfg.clone()
    changed.defrost()
    changed.DATASET.update(options)
    return changed


def contents(dataset: Any) -> dict[str, list[Item]]:
    """What a dataset of Dassl lists, in order; nothing to train on where it serves tests alone."""
    trained = [] if dataset.test_only else dataset.train_x
    parts = {"train": trained, "val": dataset.val, "test": dataset.test}
    return {
        part: [Item(os.path.realpath(i.impath), i.label, i.classname) for i in items or ()]
        for part, items in parts.items()
    }


def decoded(path: Path) -> str:
    """A text; Impossible where it is not UTF-8, with or without a byte order mark."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Impossible("it is not UTF-8") from error
    if "\0" in text:
        raise Impossible("it holds zero bytes")
    return text


def check_lists(parts: dict[str, list[Item]], inside: Path) -> dict[str, list[Item]]:
    """The lists themselves, where a classifier can be trained and tested on them.

    Raises:
        Impossible: an image is missing or outside of the folder; labels have gaps; names are empty or
            look the same to a text encoder; there is nothing to test.
        ToBeSaid: an image stands under two labels, or in train and in test.
    """
    names: dict[int, set[str]] = defaultdict(set)
    labels: dict[str, set[int]] = defaultdict(set)
    for items in parts.values():
        for item in items:
            if not os.path.isfile(item.path):
                raise Impossible(f"{item.path} does not exist")
            if not Path(item.path).is_relative_to(os.path.realpath(inside)):
                raise Impossible(f"{item.path} is outside of the dataset")
            if not item.name.strip():
                raise Impossible("a class has no name")
            names[item.label].add(item.name)
            labels[item.path].add(item.label)
    if not parts["test"]:
        raise Impossible("it lists nothing to test")
    if sorted(names) != list(range(len(names))):
        raise Impossible("labels have gaps")
    if any(len(of_label) > 1 for of_label in names.values()):
        raise Impossible("a label has two names")
    seen = Counter(as_encoded(next(iter(of_label))) for of_label in names.values())
    if max(seen.values()) > 1:
        raise Impossible("two classes look the same to the text encoder")
    if parts["train"] and {item.label for item in parts["train"]} != set(names):
        raise Impossible("a class has no training pictures")
    if any(len(of_image) > 1 for of_image in labels.values()):
        raise ToBeSaid("an image stands under two labels", parts)
    trained = {item.path for item in parts["train"]}
    if trained & {item.path for part in ("val", "test") for item in parts[part]}:
        raise ToBeSaid("a training picture is tested", parts)
    return parts


def as_encoded(name: str) -> str:
    """Near to what CLIP's tokenizer sees of a name."""
    return " ".join(re.sub("_", " ", name).lower().split())


@dataclass
class _ListOfPictures(Reader):
    """What split files and CSVs share."""

    def change_text(self, random: Random) -> bytes:
        """Bytes, an encoding, or what the file says."""
        how = random.choice(("bytes", "encoding", "content", "content", "content"))
        if how == "bytes":
            return of_bytes(random, self.content)
        if how == "encoding":
            return of_encoding(random, self.content)
        return self.change_content(random)

    def change_content(self, random: Random) -> bytes:
        """Another content in the file's form."""
        raise NotImplementedError


@dataclass
class Split(_ListOfPictures):
    """The JSON split file of a dataset, through the dataset itself."""

    name: str = "split"
    also_named: str = "Caltech101"

    def prepare(self, world: World, folder: Path) -> None:
        # the pictures are shared, the split file is each trial's own
        self.pictures = world.caltech / "101_ObjectCategories"
        self.split = world.caltech / "split_zhou_Caltech101.json"
        self.content = self.split.read_bytes()
        self.tree = json.loads(self.content)
        arguments = world.arguments("CoOp", folder / "output", settings={"DATASET.NUM_SHOTS": "-1"})
        self.cfg = train.configure(train.parse_arguments(arguments))
        self.whole = contents(build_dataset(self.cfg))

    def damage(self, random: Random, folder: Path) -> Path:
        path = folder / "caltech-101" / self.split.name
        path.parent.mkdir()
        (path.parent / self.pictures.name).symlink_to(self.pictures)
        path.write_bytes(self.change_text(random))
        return path

    def change_content(self, random: Random) -> bytes:
        tree, image = self.tree, "ant/image_0000.jpg"
        if random.random() < 0.6:
            return json.dumps(of_tree(random, tree)).encode()
        outside = self.world.folder / "outside.jpg"
        if not outside.exists():
            outside.write_bytes((self.pictures / image).read_bytes())
        tree = json.loads(self.content)
        item = random.choice(tree[random.choice(PARTS)])
        index = random.choice((0, 1, 2))
        paths = (str(outside), "../../../outside.jpg", f"ant/../{image}", f"./{image}", image)
        labels = (str(item[1]), float(item[1]), item[1] + 0.7, True, -1, 7, 10**20)
        names = (*CLASSES, "Ant", "ant ", "cougar face", "dollar_bill", "", " ", None, 3)
        item[index] = random.choice((paths, labels, names)[index])
        if index == 2 and random.random() < 0.7:  # the same for the whole class
            for part in PARTS:
                for other in tree[part]:
                    if other[1] == item[1]:
                        other[2] = item[2]
        return json.dumps(tree).encode()

    def read(self, path: Path) -> Any:
        root = str(path.parent.parent)
        return contents(build_dataset(with_options(self.cfg, ROOT=root)))

    def expected(self, path: Path, value: Any) -> Any:
        try:
            tree = json.loads(decoded(path))
            parts = {part: [self._item(path, *row) for row in tree[part]] for part in PARTS}
        except (ValueError, KeyError, TypeError) as error:
            raise Impossible(f"it is no split file: {error!r}") from error
        return check_lists(parts, self.pictures)

    def _item(self, path: Path, image: Any, label: Any, name: Any) -> Item:
        if not (type(image) is str and type(label) in (int, str, float) and type(name) is str):
            raise TypeError("an item is of a path, a number and a name")
        if isinstance(label, float) and not label.is_integer():
            raise ValueError("a label is no whole number")
        place = path.parent / self.pictures.name / image
        return Item(os.path.realpath(place), int(label), name)


@dataclass
class Csv(_ListOfPictures):
    """A CSV file of one's own pictures."""

    name: str = "csv"
    also_named: str = "MyImages"

    def prepare(self, world: World, folder: Path) -> None:
        self.pictures = world.caltech / "101_ObjectCategories"
        tree = json.loads((world.caltech / "split_zhou_Caltech101.json").read_text())
        self.rows = [[image, name, part] for part in PARTS for image, _, name in sorted(tree[part])]
        self.content = self.as_csv([["path", "label", "split"], *self.rows])
        self.cfg = own_pictures(world, folder, self.pictures)
        path = folder / "intact.csv"
        path.write_bytes(self.content)
        self.whole = self.read(path)

    def as_csv(self, rows: Iterable[list]) -> bytes:
        """As csv writes it."""
        file = io.StringIO(newline="")
        csv.writer(file, lineterminator="\n").writerows(rows)
        return file.getvalue().encode(errors="surrogateescape")

    def damage(self, random: Random, folder: Path) -> Path:
        path = folder / "pictures.csv"
        path.write_bytes(self.change_text(random))
        return path

    def change_content(self, random: Random) -> bytes:
        rows = [["path", "label", "split"], *map(list, self.rows)]
        row = random.choice(rows)
        how = random.choice(("cell", "label", "labels", "lost", "double", "column", "order"))
        cells = (
            "",
            " ",
            "x",
            "train",
            "/etc/hostname",
            "../x.jpg",
            'a"b',
            "a,b",
            "a\nb",
            "=1+1",
            "é",
        )
        if how == "cell":
            row[random.randrange(3)] = random.choice((*cells, row[0], row[1]))
        elif how == "label":
            row[1] = random.choice(
                (f"{row[1]} ", f" {row[1]}", row[1].upper(), row[1].replace("_", " "))
            )
        elif how == "labels":  # of every row
            numbers = {name: random.choice((i, f"0{i}", i + 9)) for i, name in enumerate(CLASSES)}
            rows = [rows[0], *([path, numbers[name], part] for path, name, part in rows[1:])]
            if random.random() < 0.3:
                rows[-1][1] = f"0{rows[-1][1]}"
        elif how == "lost":
            del rows[rows.index(row)]
        elif how == "double":
            rows.append([row[0], random.choice((*CLASSES, row[1])), random.choice(PARTS)])
        elif how == "column":
            column, others = random.randrange(3), random.choice(([], ["x"], ["x", "x"]))
            for each in random.choice((rows, rows[:1], [row])):
                each[column : column + 1] = others
        else:
            random.shuffle(rows)
        return self.as_csv(rows)

    def read(self, path: Path) -> Any:
        lists = contents(build_dataset(with_options(self.cfg, CSV=str(path))))
        return {part: sorted(items) for part, items in lists.items()}

    def expected(self, path: Path, value: Any) -> Any:
        rows = list(csv.reader(io.StringIO(decoded(path), newline=""), strict=True))
        rows = [row for row in rows if row]
        columns = [cell.strip() for cell in rows[0]] if rows else []
        if sorted(columns) != ["label", "path", "split"]:
            if sorted(columns) == ["label", "path"]:
                return check_lists(value, Path("/"))  # how they are split is another matter
            raise Impossible("its columns are none that are known")
        parts: dict[str, list] = {part: [] for part in PARTS}
        for row in rows[1:]:
            if len(row) != 3 or not all(cell.strip() for cell in row):
                raise Impossible("a row lacks something")
            said = {column: cell.strip() for column, cell in zip(columns, row, strict=True)}
            if said["split"] not in PARTS:
                raise Impossible("a split is unknown")
            parts[said["split"]].append((said["path"], said["label"]))
        names = {label for part in parts.values() for _, label in part}
        numeric = all(name.isdecimal() for name in names)
        in_order = sorted(names, key=(lambda name: (int(name), name)) if numeric else None)
        number = {name: index for index, name in enumerate(in_order)}
        lists = {
            part: sorted(
                Item(os.path.realpath(self.pictures / image), number[label], label)
                for image, label in items
            )
            for part, items in parts.items()
        }
        check_lists(lists, Path("/"))
        return lists


@dataclass
class ClassNames(_ListOfPictures):
    """A file of readable class names: of one's own pictures, and ImageNet's."""

    name: str = "class names"
    also_named: str = "MyImages"
    NAMES = {
        "ant": "red ant",
        "barrel": "oak barrel",
        "cougar_face": "cougar",
        "dollar bill": "money",
    }

    def prepare(self, world: World, folder: Path) -> None:
        self.pictures = world.caltech / "101_ObjectCategories"
        self.cfg = own_pictures(world, folder, self.pictures)
        self.contents = {
            "own.txt": "".join(f"{label}\t{name}\n" for label, name in self.NAMES.items()),
            "classnames.txt": "n01440764 tench\nn01443537 goldfish\nn02119789 kit fox\n",
        }

    def damage(self, random: Random, folder: Path) -> Path:
        path = folder / random.choice(list(self.contents))
        self.content = self.contents[path.name].encode()
        path.write_bytes(self.change_text(random))
        return path

    def change_content(self, random: Random) -> bytes:
        lines = self.content.decode().splitlines()
        index = random.randrange(len(lines))
        label, separator, name = re.match(r"([^\t]*?)(\t| )(.*)", lines[index]).groups()
        other = random.choice(lines)
        lines[index] = random.choice(
            (
                *(label, f"{label}{separator}", f"{label}  {name}", f" {label}{separator}{name} "),
                *(
                    f"{label}{separator}{other.split(separator)[-1]}",
                    f"{lines[index]}\n{label}\tx y",
                ),
                *("", "#", name, f"{label}{separator}{name.upper()}", f"{label}{separator}été"),
                f"x{label}{separator}{name}",
            )
        )
        return "\n".join(lines).encode()

    def read(self, path: Path) -> Any:
        if path.name == "classnames.txt":
            return read_class_names(str(path.parent))
        lists = contents(build_dataset(with_options(self.cfg, CLASSNAMES=str(path))))
        return dict(sorted({i.label: i.name for items in lists.values() for i in items}.items()))

    def intact(self, path: Path) -> Any:
        return self.said(self.contents[path.name], path)

    def expected(self, path: Path, value: Any) -> Any:
        return self.said(decoded(path), path)

    def said(self, text: str, path: Path) -> dict:
        """What a text says, by the form of such files."""
        names: dict[str, str] = {}
        for line in filter(None, map(str.strip, re.split(r"\r\n|\r|\n", text))):
            label, separator, name = line.partition("\t" if "\t" in line else " ")
            if not separator or not name.strip():
                raise Impossible("a line has no name")
            if names.get(label, name.strip()) != name.strip():
                raise Impossible("a label has two names")
            names[label] = name.strip()
        if path.name == "classnames.txt":
            return names
        if not set(names) & set(CLASSES):
            raise Impossible("it names none of the classes")
        given = {label: names.get(name, name) for label, name in enumerate(sorted(CLASSES))}
        if len({as_encoded(name) for name in given.values()}) < len(given):
            raise Impossible("two classes look the same to the text encoder")
        return given


@dataclass
class Configuration(Reader):
    """A YAML file of settings, through train.py's configure."""

    name: str = "yaml"

    def prepare(self, world: World, folder: Path) -> None:
        self.arguments = world.arguments("PromptSRC", folder / "output")
        self.tree = {
            "DATALOADER": {"TRAIN_X": {"BATCH_SIZE": 8}, "TEST": {"BATCH_SIZE": 50}},
            "INPUT": {"SIZE": [48, 48], "INTERPOLATION": "bicubic", "PIXEL_MEAN": [0.5, 0.4, 0.3]},
            "OPTIM": {"NAME": "sgd", "LR": 0.0025, "MAX_EPOCH": 7, "STEPSIZE": [2]},
            "TRAIN": {"PRINT_FREQ": 20},
            "TRAINER": {"PROMPTSRC": {"CTX_INIT": "a photo of a", "GPA_MEAN": 15, "GPA": True}},
        }
        self.content = yaml.safe_dump(self.tree).encode()
        self.defaults = self.configure(None)
        path = folder / "intact.yaml"
        path.write_bytes(self.content)
        self.whole = self.read(path)

    def configure(self, path: Path | None) -> dict[str, Any]:
        """The configuration by dotted key, without that of the command line."""
        flags = ["--dataset-config-file", str(path)] if path else []
        return dict(flat(train.configure(train.parse_arguments(flags))))

    def damage(self, random: Random, folder: Path) -> Path:
        path = folder / "settings.yaml"
        how = random.choice(("bytes", "encoding", "tree", "tree", "tree", "code"))
        if how == "bytes":
            path.write_bytes(of_bytes(random, self.content))
        elif how == "encoding":
            path.write_bytes(of_encoding(random, self.content))
        elif how == "tree":
            path.write_text(yaml.dump(of_tree(random, self.tree), allow_unicode=False))
        else:
            path = folder / random.choice(
                ("settings.yaml", "settings.py", "settings", "settings.YAML.py")
            )
            path.write_text(random.choice(self.code()))
        return path

    def code(self) -> tuple[str, ...]:
        """Texts that execute something where they are taken for more than plain values."""
        marker = str(self.marker)
        yaml_tags = ("python/object/apply:os.mkdir", "python/object/new:os.mkdir")
        return (
            f"open({marker!r}, 'w').close()\ncfg = {{}}\n",
            f"__import__('os').mkdir({marker!r})\nTRAINER:\n",
            *(f"OPTIM: !!{tag} [{marker}]\n" for tag in yaml_tags),
            f"OPTIM:\n  LR: \"__import__('os').mkdir({marker!r})\"\n",
            f"OPTIM: !!python/name:os.mkdir\nTRAINER: !!python/module:os {marker}\n",
            "a: &a [x, x]\n"
            + "".join(
                f"{b}: &{b} [*{a}, *{a}, *{a}]\n"
                for a, b in zip("abcdefgh", "bcdefghi", strict=True)
            ),
        )

    def read(self, path: Path) -> Any:
        return self.configure(path)

    def expected(self, path: Path, value: Any) -> Any:
        if path.suffix not in (".yaml", ".yml"):
            raise Impossible("it is no YAML file by its name")
        try:
            tree = yaml.safe_load(decoded(path))
        except yaml.YAMLError as error:
            raise Impossible(f"it is no YAML: {error}") from error
        if tree is not None and not isinstance(tree, dict):
            raise Impossible("it holds no settings by name")
        said = dict(flat(tree or {}))
        for key, given in said.items():
            if key not in self.defaults:
                raise Impossible(f"there is no setting {key}")
            if not _stands_for(value[key], given, self.defaults[key]):
                raise Impossible(f"{key} is {value[key]!r}, but the file says {given!r}")
        return {**self.defaults, **{key: value[key] for key in said}}


def _stands_for(value: Any, given: Any, default: Any) -> bool:
    """Whether a setting may have become this value, where the file says ``given``."""
    if type(value) is not type(default):
        return False
    if isinstance(default, str):
        return value == ("" if given is None else given) or (
            type(given) in (int, float, bool) and bool(value)
        )
    if isinstance(given, str):
        try:
            given = ast.literal_eval(given)
        except (ValueError, SyntaxError):
            return False
    if isinstance(default, (tuple, list)):
        given = given if isinstance(given, (tuple, list)) else [given]
        return len(value) == len(given) and all(map(_stands_for, value, given, value))
    if isinstance(default, bool) or isinstance(given, bool):
        return value is given
    return type(given) in (int, float) and value == given and math.isfinite(value)
