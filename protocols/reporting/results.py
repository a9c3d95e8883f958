"""Finding the results of runs under an output root, by the published folder names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..published import methods, settings
from ..published.methods import EVALUATION_FOLDER, FOLDERS, ZERO_SHOT_FOLDER
from ..records import (
    CONFIG_FILE,
    CURVES_FILE,
    MANIFEST_FILE,
    RESULTS_FILE,
    RecordError,
    accuracy_of,
    read,
    read_curves,
    read_results,
)

_GIVEN_WEIGHTS = "few_shot/"  # before the folders of few-shot tests of given weights
_NO_NAMES = {"method": "", "dataset": "", "seed": "", "phase": ""}


class ReportError(ValueError):
    """Results that contradict themselves, or from which a table cannot be made."""


@dataclass(frozen=True)
class Result:
    """The accuracy (percent) of one run.

    `variant` is "" for the published configuration and else its name; `classes` is base, new or
    all; `shots` is 0 and `seed` 1 for zero-shot CLIP; `row` is that of an ablation; `config` is the
    name of the configuration, published or not.
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
    config: str = ""

    @property
    def series(self) -> tuple[str, str]:
        return self.row or self.method, self.variant

    @property
    def cell(self) -> tuple:
        return self.series, self.dataset, self.shots, self.classes

    def value(self, key: str) -> Any:
        """What its configuration says of a key such as OPTIM.LR; None where it says nothing."""
        node = self.content.get("config")
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        return node


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
    named = _named(protocol, folder.relative_to(output).as_posix())
    if named is None:
        return None
    try:
        content = read_results(path)
    except RecordError as error:
        raise ReportError(str(error)) from error
    if content.get("split") != "test" or any(folder.glob("*/resume.pth")):
        return None
    classes = {"train_base": "base", "test_base": "base", "test_new": "new"}.get(
        named["phase"], "all"
    )
    shots = 0 if methods.is_zero_shot(named["method"]) else int(named["shots"])
    _check(folder, content, named, classes)
    if not methods.is_zero_shot(named["method"]):
        _check_prompts(folder, int(named["seed"]))
    row = ""
    if protocol == "ablation":
        row, named["config"] = methods.ablation_row(named["method"], named["config"])
    return Result(
        method=named["method"],
        variant=_variant(protocol, named, shots),
        dataset=named["dataset"],
        shots=shots,
        classes=classes,
        seed=int(named["seed"]),
        accuracy=accuracy_of(content, path),
        folder=folder,
        content=content,
        row=row,
        config=named["config"],
    )


def _templates(protocol: str) -> Iterator[tuple[str, str, str]]:
    """Method, template, and what stands before it, of every kind of folder that may be part of a
    protocol's table; the method is "" where all have it. Those of one method come first."""
    before = ("", _GIVEN_WEIGHTS) if protocol == "few_shot" else ("",)
    for name in methods.names():
        for template in methods.find(name).templates():
            yield from ((name, template, each) for each in before)
        if methods.is_zero_shot(name) and protocol not in settings.HALVES:
            yield name, ZERO_SHOT_FOLDER, ""
    if protocol in settings.TRANSFERS:
        yield "", EVALUATION_FOLDER, ""
    common = FOLDERS[methods.TRAINED_AS.get(protocol, protocol)]
    yield from (("", common, each) for each in before)


def _named(protocol: str, relative: str) -> dict[str, Any] | None:
    """What the name of a folder says, or None where it is no part of the protocol's table."""
    for method, template, before in _templates(protocol):
        if match := methods.pattern(before + template, method).fullmatch(relative):
            absent = {"phase": None, "own": None, "config": None, "shots": 0, "seed": 1}
            named = {**absent, "method": method, **match.groupdict()}
            if _belongs(protocol, template, named) and not _is_of_another(
                protocol, named, relative
            ):
                return named
    return None


def _belongs(protocol: str, template: str, named: dict[str, Any]) -> bool:
    """Whether a folder of a fitting name is part of the protocol's table."""
    method, dataset, config = named["method"], named["dataset"], named["config"]
    if template == ZERO_SHOT_FOLDER:
        return protocol == "few_shot" or _is_of_transfer(protocol, dataset, config)
    row = methods.ablation_row(method, config or "")
    own = row[1] if row else config
    try:
        setting = methods.find(method).setting(protocol, dataset, int(named["shots"]), own or "")
    except settings.UsageError:
        return False
    named["config"] = config = config or setting.config
    if template == setting.evaluation_folder and protocol in settings.TRANSFERS:
        return _is_of_transfer(protocol, dataset, config)
    if template != setting.folder:
        return False
    if protocol == "ablation":
        return row is not None
    if protocol == "base2new":  # without those that only the ablation has
        return row is None or row[1] == config
    if protocol in settings.TRANSFERS:
        if int(named["shots"]) != setting.shots:
            return False
        if setting.trained_on == "target":
            return _is_of_transfer(protocol, dataset, config)
        return dataset == settings.source_of(config)
    return True


def _is_of_another(protocol: str, named: dict[str, Any], relative: str) -> bool:
    """Whether a folder is that of a configuration that the papers have for another protocol alone,
    whose folders lie in the same place, as those of transfer and of few-shot classification do."""
    protocol, method = methods.TRAINED_AS.get(protocol, protocol), named["method"]
    found, config = methods.find(method), named["config"]
    for other in FOLDERS:
        if config in found.published_configs(other) - found.published_configs(protocol):
            setting = found.setting(other, named["dataset"], int(named["shots"]), config)
            for template in (setting.folder, setting.evaluation_folder):
                if methods.pattern(template, method).fullmatch(relative):
                    return True
    return False


def _is_of_transfer(protocol: str, dataset: str, config: str) -> bool:
    """Whether a dataset is the source of transfer, or a target of the protocol."""
    shifted = dataset in (*settings.SHIFTED, *settings.BUILTIN_SHIFTED)
    is_target = shifted == (protocol == "domain_generalization")
    return is_target or dataset == settings.source_of(config)


def _variant(protocol: str, named: dict[str, Any], shots: int) -> str:
    """What differs from what is published: the configuration, and options that folders tell of."""
    method, dataset, config = named["method"], named["dataset"], named["config"]
    found = methods.find(method)
    shots = shots or settings.SHOTS
    try:
        usual = found.setting(protocol, dataset, shots).config
    except settings.UsageError:
        usual = None
    parts = [] if config == usual else [config]
    if named["own"] is not None:
        setting = found.setting(protocol, dataset, shots, config)
        segments = {setting.fill(each, **_NO_NAMES) for each in setting.folder.split("/")}
        if named["own"] not in segments:
            parts.append(named["own"])
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
                f"{folder / RESULTS_FILE} is of {key} {content.get(key)!r:.60}, but its folder is "
                f"named for {value!r}: it was moved or written by another run; put it where it belongs"
            )
    config = folder / CONFIG_FILE
    if config.is_file():
        try:
            differing = _differing(read(config), content["config"])
        except RecordError as error:
            raise ReportError(str(error)) from error
        if differing:
            raise ReportError(
                f"two runs have written into {folder}: config.yaml and {RESULTS_FILE} differ in "
                f"{'; '.join(differing)}. Move the folder away and run again"
            )


def _check_prompts(folder: Path, seed: int) -> None:
    """Refuse a test of untrained prompts, or of another seed's, where a manifest.json tells of it."""
    path = folder / MANIFEST_FILE
    if not path.is_file():
        return
    try:
        manifest = read(path)
    except RecordError as error:
        raise ReportError(str(error)) from error
    checkpoint = manifest.get("checkpoint", "")
    if checkpoint is None and not _trained(folder, manifest):
        raise ReportError(
            f"{folder} holds a test of untrained prompts: no checkpoint was loaded. Move it away, and "
            "run the test again with --model-dir"
        )
    tested = checkpoint.get("path") if isinstance(checkpoint, dict) else None
    named = re.fullmatch(r"seed(\d+)", Path(str(tested)).parent.parent.name)
    if named and int(named[1]) != seed:
        raise ReportError(
            f"{folder} is named for seed {seed}, but holds a test of the prompts of another seed, "
            f"{tested}. Move it away, and test those of seed {seed}"
        )


def _trained(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether the run that left a manifest.json has trained, and did not only test."""
    training = manifest.get("training")
    epochs = training.get("epochs") if isinstance(training, dict) else 0
    return bool(epochs) or (folder / CURVES_FILE).is_file()


def _differing(old: dict, new: dict) -> list[str]:
    if {**old, "OUTPUT_DIR": ""} == {**new, "OUTPUT_DIR": ""}:
        return []
    # which keys are whose is known to the methods' classes, which bring torch
    import train
    from trainers.results import differing_keys

    return differing_keys(old, new, train.default_config())


def _refuse_mixed_configurations(results: list[Result]) -> None:
    """Seeds of one table cell must differ in their seed alone."""
    first: dict[tuple, Result] = {}
    for result in results:
        other = first.setdefault(result.cell, result)
        old, new = ({**r.content["config"], "SEED": 0} for r in (other, result))
        if differing := _differing(old, new):
            raise ReportError(
                f"{other.folder} and {result.folder} are not seeds of one experiment: "
                f"{'; '.join(differing)}. Run one of them again into another output root"
            )


def curves_of(result: Result) -> dict[str, list[dict[str, Any]]] | None:
    """The curves of a result's training; None where its folder holds none.

    Raises:
        ReportError: they cannot be read.
    """
    path = result.folder / CURVES_FILE
    if not path.is_file():
        return None
    try:
        return read_curves(path)
    except RecordError as error:
        raise ReportError(str(error)) from error
