"""What runs leave and others read: results, curves, configurations and records of runs, logs."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import math
import re
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml
from dassl.data.datasets import build_dataset

import parse_test_res
import train
from protocols import report
from protocols.published.runs import table_runs
from trainers import curves, descriptions, run_folder
from trainers.results import default_config

from .mutations import flat, json_bytes, of_bytes, of_encoding, of_tree
from .readers import INPUT_ERRORS, Impossible, Reader
from .text_files import Item, contents, with_options
from .world import CLASSES, EPOCHS, World

METHODS, SEEDS = ("CoOp", "PromptSRC"), (1, 2, 3)
METRICS = ("base", "new", "harmonic_mean")
FORMATS = ("json", "text", "markdown", "csv", "latex")
# in these runs of one experiment may differ
WITHOUT_EFFECT = (
    *("OUTPUT_DIR", "RESUME", "VERBOSE", "STORE", "DATASET.ROOT", "TRAIN.", "TEST.EVERY"),
    *("DATALOADER.NUM_WORKERS", "DATALOADER.KEPT_PIXELS"),
    *("TEST.NO_TEST", "TEST.PER_CLASS_RESULT", "TEST.COMPUTE_CMAT"),
)


class Refused(Exception):
    """What a command said before it ended with status 2."""


def damaged(random: Random, path: Path, content: bytes) -> bytes:
    """A file of JSON, YAML or another text with something changed, in its bytes or in what it says."""
    how = random.choice(("bytes", "encoding", "tree", "tree", "tree"))
    if how == "encoding":
        return of_encoding(random, content)
    if how == "tree" and path.suffix == ".json":
        return json_bytes(of_tree(random, json.loads(content)))
    if how == "tree" and path.suffix == ".yaml":
        return yaml.dump(of_tree(random, yaml.safe_load(content))).encode()
    if how == "tree":
        numbers = list(re.finditer(rb"\d+(\.\d+)?", content))
        where = random.choice(numbers).span()
        given = random.choice((b"", b"444.4", b"-1", b"nan", b"1e9", b"x", b"0", b"99.9", b"50,5"))
        return content[: where[0]] + given + content[where[1] :]
    return of_bytes(random, content)


def parsed(path: Path, encoding: str = "utf-8") -> Any:
    """What a JSON or YAML file says; Impossible where it says nothing."""
    try:
        text = path.read_text(encoding=encoding)
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise Impossible(f"it cannot be read: {error}") from error


def percentage(value: Any) -> float:
    """An accuracy; Impossible where it cannot be one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
        raise Impossible(f"{value!r} is no accuracy")
    return float(value)


@dataclass
class Results(Reader):
    """A file that `protocols.report` reads: of a run's folder, or the CSV file of another report."""

    name: str = "results"
    refusals: tuple[type[Exception], ...] = (Refused,)

    def prepare(self, world: World, folder: Path) -> None:
        self.root, self.folders = folder / "whole", {}
        accuracies = iter(range(50, 100))
        config = {"TRAINER": {"PROMPTSRC": {"GPA_MEAN": 15, "GPA_STD": 1}}, "SEED": 1}
        config["OPTIM"] = {"MAX_EPOCH": 3, "LR": 0.0025}
        for run in table_runs("base2new", METHODS, ["dtd"], SEEDS):
            of_run = self.root / run.folder
            of_run.mkdir(parents=True)
            options = dict(zip(run.options[::2], run.options[1::2], strict=True))
            results = {
                **{"trainer": run.method, "dataset": "DescribableTextures", "seed": run.seed},
                **{"classes": options["DATASET.SUBSAMPLE_CLASSES"], "split": "test"},
                **{"shots": 16, "epoch": 3, "total": 40},
                "metrics": {"accuracy": float(next(accuracies)), "error_rate": 3.0},
                "config": {**config, "SEED": run.seed},
            }
            (of_run / "results.json").write_text(json.dumps(results))
            (of_run / "config.yaml").write_text(yaml.safe_dump(results["config"]))
            if run.trains:
                epochs = [
                    {"epoch": e, "steps": 2, "seconds": 1.5, "loss": 9 - e} for e in (1, 2, 3)
                ]
                tests = [{"epoch": 2, "classes": "new", "prompts": "current", "accuracy": 61.5}]
                (of_run / "curves.json").write_text(json.dumps({"epochs": epochs, "tests": tests}))
            self.folders[of_run.relative_to(self.root)] = results
        self.csv = self.report(self.root, "csv").encode()
        self.whole = self.means({key: value["metrics"] for key, value in self.folders.items()})

    def means(self, metrics: Mapping[Path, Mapping[str, Any]]) -> dict[tuple, list[float]]:
        """The accuracies of all seeds by method and half, and their means."""
        found: dict[tuple, dict[int, float]] = {}
        for folder, results in self.folders.items():
            if folder in metrics:
                half = results["classes"]
                values = found.setdefault((results["trainer"], half), {})
                values[results["seed"]] = percentage(metrics[folder]["accuracy"])
        return _with_means(found)

    def report(self, source: Path, form: str, *more: str) -> str:
        """The report's text."""
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            status = report.main(["base2new", str(source), "--partial", "--format", form, *more])
        if status:
            raise Refused(shown.getvalue())
        return shown.getvalue()

    def damage(self, random: Random, folder: Path) -> Path:
        self.more = random.choice((*FORMATS, *(["html"] if random.random() < 0.05 else [])))
        if random.random() < 0.2:
            path = folder / "report.csv"
            path.write_bytes(damaged(random, path, self.csv))
            return path
        self.copy = folder / "root"
        shutil.copytree(self.root, self.copy)
        path = random.choice(sorted(p for p in self.copy.rglob("*") if p.is_file()))
        path.write_bytes(damaged(random, path, path.read_bytes()))
        return path

    def read(self, path: Path) -> Any:
        source = path if path.suffix == ".csv" else self.copy
        figures = json.loads(self.report(source, "json"))
        if self.more != "json":
            self.report(source, self.more)
        return {
            (each["method"], each["metric"]): [
                *(value for _, value in sorted(each["seeds"].items())),
                each["mean"],
            ]
            for each in figures
            if each["metric"] in ("base", "new") and each["dataset"] == "dtd" and each["seeds"]
        }

    def expected(self, path: Path, value: Any) -> Any:
        if path.suffix == ".csv":
            return self.of_csv(path)
        said = parsed(path)
        if not isinstance(said, dict):
            raise Impossible("it holds no values by name")
        metrics = {folder: each["metrics"] for folder, each in self.folders.items()}
        folder = path.parent.relative_to(self.copy)
        if path.name == "results.json":
            del metrics[folder]
            if said.get("split") == "test":
                for key in ("trainer", "dataset", "seed", "classes"):
                    if said.get(key) != self.folders[folder][key]:
                        raise Impossible(f"{key} is another")
                if not isinstance(said.get("metrics"), dict):
                    raise Impossible("it holds no accuracy")
                metrics[folder] = {"accuracy": said["metrics"].get("accuracy")}
            else:  # a mere validation; but what it says must be an accuracy
                percentage((said.get("metrics") or {}).get("accuracy"))
        return self.means(metrics)

    def of_csv(self, path: Path) -> Any:
        """The same of the CSV file of a report."""
        try:
            text = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
            found: dict[tuple, dict[int, float]] = {}
            for row in csv.DictReader(text, strict=True):
                of_what = row["protocol"], row["method"], row["metric"]
                if of_what not in itertools.product(["base2new"], METHODS, METRICS):
                    raise Impossible(f"there is no {of_what}")
                if row["metric"] in ("base", "new") and row["dataset"].lower() == "dtd":
                    if of_what[1:] in found:
                        raise Impossible(f"{of_what} is there twice")
                    seeds = {c.removeprefix("seed_"): v for c, v in row.items() if "seed_" in c}
                    values = {int(s): percentage(float(v)) for s, v in seeds.items() if v}
                    if min(values, default=0) < 0:
                        raise Impossible("a seed is negative")
                    if (
                        values
                        and abs(statistics.fmean(values.values()) - float(row["mean"])) > 1e-6
                    ):
                        raise Impossible("a mean is not that of the seeds")
                    found[of_what[1:]] = {s: v for s, v in values.items() if s in SEEDS}
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise Impossible(f"it is no CSV file of a report: {error}") from error
        return _with_means(found)


@dataclass
class Records(Reader):
    """What a run that is started again compares with and goes on from: settings, pictures, curves."""

    name: str = "records"

    def prepare(self, world: World, folder: Path) -> None:
        self.run = world.unbroken("CoOp")
        self.contents = {
            name: (self.run / name).read_bytes()
            for name in ("config.yaml", "run.json", "curves.json")
        }
        self.settings = dict(flat(yaml.safe_load(self.contents["config.yaml"])))
        self.defaults = default_config()
        self.arguments = world.arguments("CoOp", Path("."))
        self.whole = self.read_folder(self.run)

    def read_folder(self, folder: Path) -> Any:
        """What a start learns of a run."""
        cfg = train.configure(train.parse_arguments(self.arguments))
        cfg.defrost()
        cfg.OUTPUT_DIR = str(folder)
        run_folder.check(cfg, "training", self.defaults)
        begun = curves.Curves()
        begun.resume(folder, EPOCHS)
        return {
            "settings": parsed(folder / "config.yaml"),
            "other inputs": bool(run_folder.changed_inputs(cfg)),
            "epochs": begun.epochs,
            "tests": begun.tests,
            "steps": sum(epoch["steps"] for epoch in begun.epochs),
            "seconds": sum(epoch["seconds"] for epoch in begun.epochs),
        }

    def damage(self, random: Random, folder: Path) -> Path:
        for name, content in self.contents.items():
            (folder / name).write_bytes(content)
        path = folder / random.choice(list(self.contents))
        path.write_bytes(damaged(random, path, self.contents[path.name]))
        return path

    def read(self, path: Path) -> Any:
        return self.read_folder(path.parent)

    def is_named(self, message: str, path: Path) -> bool:
        return str(path.parent) in message

    def expected(self, path: Path, value: Any) -> Any:
        said = parsed(path)
        if not isinstance(said, dict):
            raise Impossible("it holds no values by name")
        if path.name == "config.yaml":
            for key, setting in flat(said):
                other = setting != self.settings.get(key, setting)
                if other and not key.startswith(WITHOUT_EFFECT):
                    raise Impossible(f"{key} is another")
            return value
        if path.name == "run.json":
            if said.get("kind") != "training":
                raise Impossible("it is of another kind")
            known, other = json.loads(self.contents["run.json"]), False
            for about, default in (("pictures", None), ("files", {})):
                now = said.get(about, default)
                if not isinstance(now, dict):
                    raise Impossible(f"it says nothing of {about}")
                other |= any(now[key] != known[about][key] for key in now if key in known[about])
            return {**self.whole, "other inputs": other}
        epochs, tests = said.get("epochs"), said.get("tests")
        for each in (*_list(epochs), *_list(tests)):
            if not isinstance(each, dict) or type(each.get("epoch")) is not int:
                raise Impossible("it is of no epoch")
        for epoch in epochs:
            for name in ("steps", "seconds"):
                number = epoch.get(name)
                if type(number) not in (int, float) or not math.isfinite(number):
                    raise Impossible(f"{name} is {number!r}")
        done = {"epochs": epochs, "tests": tests}
        done = {k: [each for each in v if each["epoch"] <= EPOCHS] for k, v in done.items()}
        sums = {name: sum(each[name] for each in done["epochs"]) for name in ("steps", "seconds")}
        return {**self.whole, **done, **sums}


@dataclass
class Draws(Reader):
    """The draw of a run without a seed, which goes on with the same images."""

    name: str = "draws"

    def prepare(self, world: World, folder: Path) -> None:
        (folder / "output").mkdir()
        settings = {"SEED": "-1", "DATASET.NUM_SHOTS": "2"}
        arguments = world.arguments("CoOp", folder / "output", settings=settings)
        self.cfg = train.configure(train.parse_arguments(arguments))
        self.whole = contents(build_dataset(self.cfg))
        self.every = contents(build_dataset(with_options(self.cfg, NUM_SHOTS=-1)))
        (draw,) = (folder / "output").glob("draw_*.json")
        self.file, self.content = draw.name, draw.read_bytes()
        self.pictures = world.caltech / "101_ObjectCategories"

    def damage(self, random: Random, folder: Path) -> Path:
        path = folder / self.file
        path.write_bytes(damaged(random, path, self.content))
        return path

    def read(self, path: Path) -> Any:
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.OUTPUT_DIR = str(path.parent)
        return contents(build_dataset(cfg))

    def expected(self, path: Path, value: Any) -> Any:
        drawn = parsed(path, "utf-8-sig")
        found = dict(self.whole)
        for part in ("train", "val"):
            items = [self._item(row) for row in _list(drawn.get(part) if drawn else None)]
            if not items or len({*items}) < len(items) or not {*items} <= {*self.every[part]}:
                raise Impossible("it lists what is not there, or twice")
            found[part] = items
        return found

    def _item(self, row: Any) -> Item:
        if not isinstance(row, list) or [type(each) for each in row] != [str, int, str]:
            raise Impossible(f"{row!r} is no image")
        return Item(str(self.pictures / row[0]), row[1], row[2])


@dataclass
class Descriptions(Reader):
    """Sentences about classes, as a language model wrote them."""

    name: str = "descriptions"
    CONTENT = {
        "ant": ["A small insect.", "It lives in hills."],
        "barrel": ["A round box of wood.", "Wine is kept in it."],
        "cougar face": ["The face of a large cat.", "It has whiskers."],
        "dollar_bill": ["A piece of paper.", "It is green."],
        "emu": ["A tall bird.", "It cannot fly."],
    }

    def prepare(self, world: World, folder: Path) -> None:
        self.content = json.dumps(self.CONTENT, indent=1).encode()

    def damage(self, random: Random, folder: Path) -> Path:
        path = folder / "sentences.json"
        path.write_bytes(damaged(random, path, self.content))
        return path

    def read(self, path: Path) -> Any:
        return descriptions.read(str(path), "Caltech101", CLASSES, path.parent)

    def intact(self, path: Path) -> Any:
        return self.named(self.CONTENT)

    def expected(self, path: Path, value: Any) -> Any:
        return self.named(parsed(path, "utf-8-sig"))

    def named(self, content: Any) -> list[list[str]]:
        """The sentences about each class."""
        if not isinstance(content, dict):
            raise Impossible("it holds no sentences by class")
        found = []
        for name in CLASSES:
            names = {name, name.replace("_", " "), name.replace(" ", "_")}
            given = [content[each] for each in names if each in content]
            if len(given) != 1 or not _list(given[0]):
                raise Impossible(f"it has not one list of sentences about {name}")
            found += given
        if len({len(each) for each in found}) > 1:
            raise Impossible("some class has more sentences than another")
        if not all(isinstance(each, str) and each.strip() for each in itertools.chain(*found)):
            raise Impossible("a sentence is none")
        return found


@dataclass
class Logs(Reader):
    """A log that parse_test_res.py averages."""

    name: str = "logs"
    refusals: tuple[type[Exception], ...] = (*INPUT_ERRORS, parse_test_res.ParseError)

    def prepare(self, world: World, folder: Path) -> None:
        lines = "=> result\n* total: 40\n* correct: {}\n* accuracy: {}%\n* error: 9.9%\n"
        self.values = {1: 80.1, 2: 70.2, 3: 60.3}
        self.contents = {
            seed: f"epoch [3/3]\nFinish training\n{lines.format(seed, value)}Elapsed: 0:00:03\n"
            for seed, value in self.values.items()
        }

    def damage(self, random: Random, folder: Path) -> Path:
        for seed, content in self.contents.items():
            (folder / f"seed{seed}").mkdir()
            (folder / f"seed{seed}" / "log.txt").write_text(content)
        path = folder / f"seed{random.choice(list(self.contents))}" / "log.txt"
        path.write_bytes(damaged(random, path, path.read_bytes()))
        return path

    def read(self, path: Path) -> float:
        return parse_test_res.summarise(
            path.parent.parent, parse_test_res.TRAINING_ENDS, "accuracy", False
        )

    def intact(self, path: Path) -> float:
        return statistics.fmean(self.values.values())

    def is_named(self, message: str, path: Path) -> bool:
        return path.parent.name in message

    def expected(self, path: Path, value: Any) -> float:
        text = path.read_bytes().decode(errors="replace")
        _, found, rest = text.rpartition("Finish training")
        printed = re.findall(r"^\* accuracy: (\S+)%", rest, re.MULTILINE)
        if not found or not printed:
            raise Impossible("it has no accuracy behind the end of the training")
        try:
            accuracy = percentage(float(printed[-1]))
        except ValueError as error:
            raise Impossible(f"{printed[-1]} is no number") from error
        seed = int(path.parent.name.removeprefix("seed"))
        return statistics.fmean({**self.values, seed: accuracy}.values())


def _with_means(found: Mapping[tuple, Mapping[int, float]]) -> dict[tuple, list[float]]:
    """The values in the order of their seeds, and then their mean, where there are any."""
    return {
        key: [*(values[seed] for seed in sorted(values)), statistics.fmean(values.values())]
        for key, values in found.items()
        if values
    }


def _list(value: Any) -> list:
    if not isinstance(value, list):
        raise Impossible(f"{value!r} is no list")
    return value
