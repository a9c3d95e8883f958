"""What the papers fix whatever the method: protocols, datasets, seeds and shots."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
BUILTIN = "builtin"

PROTOCOLS = ("base2new", "cross_dataset", "domain_generalization", "few_shot", "ablation")
HALVES = ("base2new", "ablation")  # trained on base classes, tested on base and new ones
TRANSFERS = ("cross_dataset", "domain_generalization")  # trained on one source
SEEDS = (1, 2, 3)
SHOTS = 16
FEW_SHOTS = (1, 2, 4, 8, 16)

DEFAULT_METHODS = ("PromptSRC",)  # of sweeps, where none is named

# in the order of the papers' tables
DATASETS = (
    "imagenet",
    "caltech101",
    "oxford_pets",
    "stanford_cars",
    "oxford_flowers",
    "food101",
    "fgvc_aircraft",
    "sun397",
    "dtd",
    "eurosat",
    "ucf101",
)
SHIFTED = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
BUILTIN_DATASETS = tuple(
    f"builtin_{name}" for name in ("things", "flowers", "fabrics", "formations", "coloured")
)
BUILTIN_SHIFTED = tuple(f"builtin_things_{name}" for name in ("sketch", "negative", "rough"))


class UsageError(ValueError):
    """Something that was asked for does not exist or does not fit."""


def closest(kind: str, name: str, known: Collection[str]) -> UsageError:
    """The error for an unknown name, with the nearest known one."""
    folded = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    hint = f" (did you mean {folded[near[0]]!r}?)" if near else ""
    return UsageError(f"there is no {kind} {name!r}{hint}; there are: {', '.join(known)}")


@cache
def dataset_names() -> dict[str, str]:
    """Registered name by config name, of everything in configs/datasets."""
    return {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["DATASET"]["NAME"]
        for path in sorted((CONFIGS / "datasets").glob("*.yaml"))
    }


def find_dataset(name: str) -> str:
    """The config name of a dataset, given by its config name or registered name in any case.

    Raises:
        UsageError: there is none; the nearest is offered.
    """
    for config_name, registered in dataset_names().items():
        if name.lower() in (config_name.lower(), registered.lower()):
            return config_name
    raise closest("dataset", name, tuple(dataset_names()))


def source_of(config: str) -> str:
    """What cross-dataset transfer and domain generalization train on."""
    return BUILTIN_DATASETS[0] if config == BUILTIN else "imagenet"


def find_datasets(names: Iterable[str], protocol: str, config: str) -> tuple[str, ...]:
    """Config names of the datasets that a protocol trains or tests on, the source left out.

    Args:
        names: dataset names; "all" means those of the papers (with the built-in configuration: the
            built-in ones), "builtin" the built-in ones.
        protocol: decides what "all" means.
        config: the configuration that was asked for, or "".
    """
    builtin, papers = (BUILTIN_DATASETS, BUILTIN_SHIFTED), (DATASETS, SHIFTED)
    chosen: list[str] = []
    for name in names:
        if name not in ("all", BUILTIN):
            chosen.append(find_dataset(name))
            continue
        group = builtin if BUILTIN in (name, config) else papers
        chosen += group[protocol == "domain_generalization"]
    refuse_twice("dataset", chosen)
    if protocol in TRANSFERS:
        chosen = [name for name in chosen if name != source_of(config)]
    return tuple(chosen)


def refuse_twice(kind: str, values: Sequence) -> None:
    """Raise UsageError where a value is given more than once."""
    for value in values:
        if values.count(value) > 1:
            raise UsageError(f"the {kind} {value} is given twice: name each {kind} once")
