"""Finding the results of runs under an output root, by the published folder names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from . import settings
from .execution import RunError, accuracy_of, read_json

RESULTS_FILE = "results.json"

_BASE2NEW = re.compile(
    r"base2new/(?P<phase>train_base|test_base|test_new)/(?P<dataset>[^/]+)/shots_(?P<shots>\d+)/"
    r"(?P<method>[^/]+)/(?P<config>[^/]+)/seed(?P<seed>\d+)"
)
_EVALUATION = re.compile(
    r"(?P<phase>evaluation)/(?P<method>[^/]+)/(?P<config>[^/]+)_(?P<shots>\d+)shots/"
    r"(?P<dataset>[^/]+)/seed(?P<seed>\d+)"
)
_TRAINING = re.compile(
    r"(?P<phase>few_shot/)?(?P<dataset>[^/]+)/(?P<method>[^/]+)/(?P<config>[^/]+)_(?P<shots>\d+)shots/"
    r"(?:(?P<context>nctx[^/]+)/)?seed(?P<seed>\d+)"
)
_ZERO_SHOT = re.compile(
    rf"(?P<method>{'|'.join(settings.ZERO_SHOT)})/(?P<config>[^/]+)/(?P<dataset>[^/]+)"
)
_PATTERNS = {
    "base2new": (_BASE2NEW,),
    "cross_dataset": (_EVALUATION, _TRAINING, _ZERO_SHOT),
    "domain_generalization": (_EVALUATION, _TRAINING, _ZERO_SHOT),
    "few_shot": (_TRAINING, _ZERO_SHOT),
    "ablation": (_BASE2NEW,),
}


class ReportError(ValueError):
    """Results that contradict themselves, or from which a table cannot be made."""


@dataclass(frozen=True)
class Result:
    """The accuracy (percent) of one run.

    `variant` is "" for the published configuration and else its name; `classes` is base, new or
    all; `shots` is 0 and `seed` 1 for zero-shot CLIP; `row` is that of an ablation.
    """

    method: str
    variant: str
    dataset: str
    shots: int
    classes: str
    seed: int
    accuracy: float
    folder: Path
    content: dict[str, Any] = field(compare=False, repr=False, hash=False)
    row: str = ""

    @property
    def series(self) -> tuple[str, str]:
        return self.row or self.method, self.variant

    @property
    def cell(self) -> tuple:
        return self.series, self.dataset, self.shots, self.classes


def find_results(protocol: str, output: Path) -> list[Result]:
    """All results of a protocol under an output root; unfinished runs are not among them.

    Raises:
        ReportError: there is no such folder, a results.json cannot be read or says something else than
            its folder's name, or one seed has two different results.
    """
    if not output.is_dir():
        raise ReportError(f"there is no folder {output}: give the output root of the runs")
    found: dict[tuple, Result] = {}
    for path in sorted(output.rglob(RESULTS_FILE)):
        result = _read(protocol, output, path)
        if result is None:
            continue
        key = (*result.cell, result.seed)
        earlier = found.setdefault(key, result)
        same_kind = (
            earlier.folder.relative_to(output).parts[:2] == path.relative_to(output).parts[:2]
        )
        if earlier is not result and (same_kind or earlier.accuracy != result.accuracy):
            raise ReportError(
                f"seed {result.seed} is there twice: {earlier.folder} ({earlier.accuracy:.2f}%) and "
                f"{result.folder} ({result.accuracy:.2f}%). Move one of them away"
            )
    results = list(found.values())
    if protocol == "few_shot":
        results = _without_transfers(results)
    _refuse_mixed_configurations(results)
    return results


def _without_transfers(results: list[Result]) -> list[Result]:
    """Leave out series of nothing but the source with the usual shots, where there are others: with a
    configuration that is not published, models of cross-dataset transfer lie where few-shot runs do."""

    def may_be_a_transfer(r: Result) -> bool:
        on_source = r.dataset == settings.source_of(r.variant)
        return bool(r.variant) and on_source and r.shots == settings.SHOTS

    few_shot = {r.series for r in results if not may_be_a_transfer(r)}
    return [r for r in results if r.series in few_shot] or results


def _read(protocol: str, output: Path, path: Path) -> Result | None:
    folder = path.parent
    relative = folder.relative_to(output).as_posix()
    for pattern in _PATTERNS[protocol]:
        if match := pattern.fullmatch(relative):
            break
    else:
        return None
    named = {**{"phase": None, "context": None, "shots": 0, "seed": 1}, **match.groupdict()}
    if not _belongs(protocol, pattern, named):
        return None
    try:
        content = read_json(path)
        accuracy = accuracy_of(content, path)
    except RunError as error:
        raise ReportError(str(error)) from error
    if content.get("split") != "test" or any(folder.glob("*/resume.pth")):
        return None
    classes = {"train_base": "base", "test_base": "base", "test_new": "new"}.get(
        named["phase"], "all"
    )
    shots = 0 if named["method"] in settings.ZERO_SHOT else int(named["shots"])
    _check(folder, content, named, classes)
    row = ""
    if protocol == "ablation":
        row, named["config"] = settings.ablation_row(named["method"], named["config"])
    return Result(
        method=named["method"],
        variant=_variant(protocol, named, shots),
        dataset=named["dataset"],
        shots=shots,
        classes=classes,
        seed=int(named["seed"]),
        accuracy=accuracy,
        folder=folder,
        content=content,
        row=row,
    )


def _belongs(protocol: str, pattern: re.Pattern, named: dict[str, Any]) -> bool:
    """Whether a folder of a fitting name is part of the protocol's table."""
    dataset, config = named["dataset"], named["config"]
    row = settings.ablation_row(named["method"], config)
    if protocol == "ablation":
        return row is not None
    if protocol == "base2new":  # without those that only the ablation has
        return row is None or row[1] == config
    if protocol in settings.TRANSFERS:
        is_source = dataset == settings.source_of(config)
        if pattern is _TRAINING:
            own = named["phase"] is None and named["context"] is None
            return is_source and own and int(named["shots"]) == settings.SHOTS
        shifted = dataset in (*settings.SHIFTED, *settings.BUILTIN_SHIFTED)
        return is_source or shifted == (protocol == "domain_generalization")
    if protocol == "few_shot" and pattern is _TRAINING and named["method"] in settings.METHODS:
        # models of cross-dataset transfer lie beside those of few-shot classification
        if named["method"] == "CoOp" and named["context"] is None:
            return False
        transfer = settings.published_configs(named["method"], "cross_dataset")
        few_shot = settings.published_configs(named["method"], "few_shot")
        return config not in transfer - few_shot
    return True


def _variant(protocol: str, named: dict[str, Any], shots: int) -> str:
    method, config, context = named["method"], named["config"], named["context"]
    try:
        usual = settings.config_name(method, protocol, named["dataset"], shots or settings.SHOTS)
    except (KeyError, settings.UsageError):
        usual = None
    parts = [] if config == usual else [config]
    if context not in (None, settings.coop_context()):
        parts.append(context)
    return ", ".join(parts)


def _check(folder: Path, content: dict[str, Any], named: dict[str, Any], classes: str) -> None:
    """Compare what a results.json says with the folder's name and with the config.yaml in it."""
    said = {
        "trainer": named["method"],
        "seed": int(named["seed"]),
        "classes": classes,
        "dataset": settings.dataset_names().get(named["dataset"], content.get("dataset")),
    }
    for key, value in said.items():
        if content.get(key) != value:
            raise ReportError(
                f"{folder / RESULTS_FILE} is of {key} {content.get(key)!r}, but its folder is named "
                f"for {value!r}: it was moved or written by another run; put it where it belongs"
            )
    config = folder / "config.yaml"
    if config.is_file():
        differing = _differing(yaml.safe_load(config.read_text()), content.get("config", {}))
        if differing:
            raise ReportError(
                f"two runs have written into {folder}: config.yaml and {RESULTS_FILE} differ in "
                f"{'; '.join(differing)}. Move the folder away and run again"
            )


def _differing(old: dict, new: dict) -> list[str]:
    from trainers.results import differing_keys

    return differing_keys(old, new)


def _refuse_mixed_configurations(results: list[Result]) -> None:
    """Seeds of one table cell must differ in their seed alone."""
    first: dict[tuple, Result] = {}
    for result in results:
        other = first.setdefault(result.cell, result)
        old, new = ({**r.content.get("config", {}), "SEED": 0} for r in (other, result))
        if differing := _differing(old, new):
            raise ReportError(
                f"{other.folder} and {result.folder} are not seeds of one experiment: "
                f"{'; '.join(differing)}. Run one of them again into another output root"
            )


def training_folders(results: list[Result]) -> Iterator[Result]:
    """Those results whose folder also holds the curves of a training."""
    return (result for result in results if (result.folder / "curves.json").is_file())
