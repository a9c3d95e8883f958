"""What the papers fix: methods, protocols, datasets, and the configuration of each combination.

The published values stand here and nowhere else; scripts, sweeps and reports read them.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"
BUILTIN = "builtin"

PROTOCOLS = ("base2new", "cross_dataset", "domain_generalization", "few_shot", "ablation")
HALVES = ("base2new", "ablation")  # trained on base classes, tested on base and new ones
TRANSFERS = ("cross_dataset", "domain_generalization")  # trained on one source
SEEDS = (1, 2, 3)
SHOTS = 16
FEW_SHOTS = (1, 2, 4, 8, 16)

NODES = {
    "ZeroshotCLIP": "ZEROSHOT",
    "ZeroshotCLIP2": "ZEROSHOT",
    "CoOp": "COOP",
    "CoCoOp": "COCOOP",
    "IVLP": "IVLP",
    "PromptSRC": "PROMPTSRC",
}
METHODS = tuple(NODES)
ZERO_SHOT = ("ZeroshotCLIP", "ZeroshotCLIP2")

_DEEP = "vit_b16_c2_ep20_batch4_4+4ctx"
_COCOOP = "vit_b16_c4_ep10_batch1_ctxv1"
_TRAINED_AS = {"domain_generalization": "cross_dataset", "ablation": "base2new"}
# by method and protocol
_CONFIG_NAMES = {
    "ZeroshotCLIP": dict.fromkeys(PROTOCOLS, "vit_b16"),
    "ZeroshotCLIP2": dict.fromkeys(PROTOCOLS, "vit_b16"),
    "CoOp": {
        "base2new": "vit_b16_ctxv1",
        "cross_dataset": "vit_b16_ep50_ctxv1",
        "few_shot": "vit_b16",
    },
    "CoCoOp": {"base2new": _COCOOP, "cross_dataset": _COCOOP, "few_shot": _COCOOP},
    "IVLP": {"base2new": _DEEP},
    "PromptSRC": {
        "base2new": _DEEP,
        "cross_dataset": f"{_DEEP}_cross_datasets",
        "few_shot": "vit_b16_c2_ep50_batch4_4+4ctx_few_shot",
    },
}
# CoOp trains few shots for fewer epochs, and ImageNet always for 50
_COOP_FEW_SHOT = {1: "vit_b16_ep50", 2: "vit_b16_ep100", 4: "vit_b16_ep100"}
_COOP_IMAGENET = {"base2new": "vit_b16_ep50_ctxv1", "few_shot": "vit_b16_ep50"}
COOP_FEW_SHOT_CONTEXT = {"position": "end", "length": 16, "class_specific": False}

# PromptSRC, few-shot: mean and standard deviation of the Gaussian over the epochs
_GPA_WIDE, _GPA_LATE = (30, 30), (45, 5)
_FEW_SHOT_GPA = {
    **dict.fromkeys(
        ("imagenet", "caltech101", "oxford_pets", "food101", "ucf101", "sun397"), _GPA_WIDE
    ),
    **dict.fromkeys(
        ("stanford_cars", "oxford_flowers", "fgvc_aircraft", "dtd", "eurosat"), _GPA_LATE
    ),
}

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


@dataclass(frozen=True)
class AblationRow:
    """A row of the ablation: a method, KEY VALUE pairs that leave parts of it out, and what the name of
    the configuration then ends with in output folders."""

    method: str
    suffix: str = ""
    options: tuple[str, ...] = ()


_ONE_TEMPLATE = ("TRAINER.PROMPTSRC.TEACHER_TEMPLATES", "1")
ABLATION = {
    "IVLP": AblationRow("IVLP"),
    "IVLP + mutual agreement": AblationRow(
        "PromptSRC", "__agreement", ("TRAINER.PROMPTSRC.GPA", "False", *_ONE_TEMPLATE)
    ),
    "+ GPA": AblationRow("PromptSRC", "__averaging", _ONE_TEMPLATE),
    "+ textual diversity (PromptSRC)": AblationRow("PromptSRC"),
}
"""From IVLP to PromptSRC on base-to-new (PromptSRC, table 1), under the paper's names."""


class UsageError(ValueError):
    """Something that was asked for does not exist or does not fit."""


def closest(kind: str, name: str, known: Collection[str]) -> UsageError:
    """The error for an unknown name, with the nearest known one."""
    folded = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    hint = f" (did you mean {folded[near[0]]!r}?)" if near else ""
    return UsageError(f"there is no {kind} {name!r}{hint}; there are: {', '.join(known)}")


def find_method(name: str) -> str:
    """The registered name of a method, given in any case.

    Raises:
        UsageError: there is none; the nearest is offered.
    """
    for known in METHODS:
        if known.lower() == name.lower():
            return known
    raise closest("method", name, METHODS)


@cache
def dataset_names() -> dict[str, str]:
    """Registered name by config name, of everything in configs/datasets."""
    return {
        path.stem: yaml.safe_load(path.read_text())["DATASET"]["NAME"]
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


def config_name(method: str, protocol: str, dataset: str, shots: int = SHOTS) -> str:
    """The published configuration of a method for a protocol and a dataset.

    Raises:
        UsageError: the papers have none.
    """
    protocol = _TRAINED_AS.get(protocol, protocol)
    if protocol not in _CONFIG_NAMES[method]:
        raise UsageError(
            f"{method} has no published configuration for {protocol}: name one of "
            f"{', '.join(configs_of(method))} (CFG in scripts, --config in sweeps)"
        )
    if method == "CoOp" and dataset == "imagenet":
        return _COOP_IMAGENET.get(protocol, _CONFIG_NAMES[method][protocol])
    if method == "CoOp" and protocol == "few_shot" and shots in _COOP_FEW_SHOT:
        return _COOP_FEW_SHOT[shots]
    return _CONFIG_NAMES[method][protocol]


def published_configs(method: str, protocol: str) -> set[str]:
    """All published configurations of a method for a protocol, over datasets and shots."""
    if protocol not in _CONFIG_NAMES[method]:
        return set()
    names = {config_name(method, protocol, dataset) for dataset in DATASETS}
    return names | {config_name(method, protocol, "", shots) for shots in FEW_SHOTS}


def ablation_row(method: str, config: str) -> tuple[str, str] | None:
    """The row of the ablation that a folder of this method and configuration name belongs to, and
    the configuration's own name; None where it belongs to none."""
    for name, row in sorted(ABLATION.items(), key=lambda each: -len(each[1].suffix)):
        if row.method == method and config.endswith(row.suffix):
            return name, config.removesuffix(row.suffix)
    return None


def coop_context(
    position: str = COOP_FEW_SHOT_CONTEXT["position"],
    length: int = COOP_FEW_SHOT_CONTEXT["length"],
    class_specific: bool = COOP_FEW_SHOT_CONTEXT["class_specific"],
) -> str:
    """The part of CoOp's output folders that names the form of its context."""
    return f"nctx{length}_csc{class_specific}_ctp{position}"


def few_shot_gaussian(dataset: str) -> tuple[int, int]:
    """Mean and standard deviation of PromptSRC's averaging in few-shot runs of a dataset."""
    if dataset not in _FEW_SHOT_GPA:
        print(f"{dataset} is not a dataset of the paper: its prompts are averaged with 30/30")
    return _FEW_SHOT_GPA.get(dataset, _GPA_WIDE)


def config_folder(method: str) -> Path:
    """Where a method's configurations are; zero-shot CLIP uses CoOp's, as published."""
    return CONFIGS / "trainers" / ("CoOp" if method in ZERO_SHOT else method)


def configs_of(method: str) -> list[str]:
    """The names of all configurations of a method."""
    return sorted(path.stem for path in config_folder(method).glob("*.yaml"))


def config_path(method: str, name: str) -> Path:
    """The file of a configuration.

    Raises:
        UsageError: there is none; the nearest is offered.
    """
    if name not in configs_of(method):
        raise closest(f"configuration of {method}", name, configs_of(method))
    return config_folder(method) / f"{name}.yaml"
