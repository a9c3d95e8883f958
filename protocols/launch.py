"""What the scripts call: positional arguments and environment variables become runs of train.py."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import runs, settings
from .execution import RunError, run_here
from .runs import Environment, Run
from .settings import UsageError

VARIABLES = """environment variables:
  DATA      the data root (default ./data)
  OUTPUT    the root of the output folders (default ./output)
  CFG       a configuration of the method instead of the published one; "builtin" selects the small
            CLIP that comes with this project
  PREC      fp32, fp16, amp or bf16; without CUDA the default is fp32
  BACKBONE  an OpenAI CLIP by name, or a file in its layout
  SOURCE    what cross-dataset transfer trains on (default imagenet; built-in: builtin_things)
  SEEDS     the seeds of scripts that run several (default "1 2 3")

A finished run with the same configuration is kept, an unfinished one goes on, and a folder of another
configuration is refused."""


@dataclass(frozen=True)
class Script:
    """A script: what it is for, its positional arguments, and the runs that they mean."""

    purpose: str
    arguments: tuple[str, ...]
    runs: Callable[[str, argparse.Namespace], list[Run]]


def _source(config: str) -> str:
    return settings.find_dataset(os.environ.get("SOURCE") or settings.source_of(config))


def _seeds() -> list[int]:
    """The seeds of scripts that run several."""
    try:
        seeds = [_count(seed) for seed in os.environ.get("SEEDS", "").split()]
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"SEEDS: {error}") from error
    settings.refuse_twice("seed", seeds)
    return seeds or list(settings.SEEDS)


def _zero_shot_halves(method: str, given: argparse.Namespace) -> list[Run]:
    return [
        runs.base2new_test(method, given.DATASET, 1, given.config, half) for half in ("base", "new")
    ]


SCRIPTS = {
    "base2new_train": Script(
        "train on the base classes of a dataset, 16 shots, and test them",
        ("DATASET", "SEED"),
        lambda method, given: [
            runs.base2new_train(method, given.DATASET, given.SEED, given.config)
        ],
    ),
    "base2new_test": Script(
        "test the new classes with the prompts of base2new_train.sh",
        ("DATASET", "SEED"),
        lambda method, given: [runs.base2new_test(method, given.DATASET, given.SEED, given.config)],
    ),
    "xd_train": Script(
        "train on all classes of the source, 16 shots, and test them",
        ("DATASET", "SEED"),
        lambda method, given: [
            runs.cross_dataset_train(method, given.DATASET, given.SEED, given.config)
        ],
    ),
    "xd_test": Script(
        "test another dataset with the prompts that xd_train.sh trained on the source",
        ("DATASET", "SEED"),
        lambda method, given: [
            runs.cross_dataset_test(
                method, _source(given.config), given.DATASET, given.SEED, given.config
            )
        ],
    ),
    "few_shot": Script(
        "train on all classes with SHOTS images a class, seeds 1 2 3, and test them",
        ("DATASET", "SHOTS"),
        lambda method, given: [
            runs.few_shot(method, given.DATASET, given.SHOTS, seed, given.config)
            for seed in _seeds()
        ],
    ),
    "main": Script(
        "train CoOp on all classes, seeds 1 2 3: configuration, position of the class name (end, "
        "middle or front), length of the context, shots, class-specific contexts (True or False)",
        ("DATASET", "CONFIG", "CTP", "NCTX", "SHOTS", "CSC"),
        lambda method, given: [
            runs.coop(
                given.DATASET,
                given.config or given.CONFIG,
                given.SHOTS,
                seed,
                given.CTP,
                given.NCTX,
                given.CSC,
            )
            for seed in _seeds()
        ],
    ),
    "zeroshot": Script(
        "test zero-shot CLIP on all classes, with one of CoOp's configurations",
        ("DATASET", "CONFIG"),
        lambda method, given: [runs.zero_shot(method, given.DATASET, given.config or given.CONFIG)],
    ),
    "zeroshot_base2new": Script(
        "test zero-shot CLIP on the base and on the new classes",
        ("DATASET",),
        _zero_shot_halves,
    ),
    "zeroshot_xd": Script(
        "test zero-shot CLIP on all classes of a dataset",
        ("DATASET",),
        lambda method, given: [runs.zero_shot(method, given.DATASET, given.config)],
    ),
    "reproduce_base2novel_setting": Script(
        "test the weights in WEIGHTS/base/seedSEED on the base and on the new classes",
        ("DATASET", "SEED", "WEIGHTS"),
        lambda method, given: [
            runs.base2new_test(
                method,
                given.DATASET,
                given.SEED,
                given.config,
                half,
                f"{given.WEIGHTS}/base/seed{given.SEED}",
            )
            for half in ("base", "new")
        ],
    ),
    "reproduce_xd": Script(
        "test the weights in WEIGHTS/seedSEED, trained on the source, on another dataset",
        ("DATASET", "SEED", "WEIGHTS"),
        lambda method, given: [
            runs.cross_dataset_test(
                method,
                _source(given.config),
                given.DATASET,
                given.SEED,
                given.config,
                f"{given.WEIGHTS}/seed{given.SEED}",
            )
        ],
    ),
    "reproduce_few_shot": Script(
        "test the weights in WEIGHTS/SHOTSshot/seedSEED, seeds 1 2 3, on all classes",
        ("DATASET", "SHOTS", "WEIGHTS"),
        lambda method, given: [
            runs.few_shot_test(
                method,
                given.DATASET,
                given.SHOTS,
                seed,
                f"{given.WEIGHTS}/{given.SHOTS}shot/seed{seed}",
                given.config,
            )
            for seed in _seeds()
        ],
    ),
}


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def _truth(text: str) -> bool:
    if text not in ("True", "False"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return text == "True"


def _dataset(text: str) -> str:
    try:
        return settings.find_dataset(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


_TYPES = {"DATASET": _dataset, "SEED": _count, "SHOTS": _count, "NCTX": _count, "CSC": _truth}


def parse(arguments: Sequence[str]) -> tuple[str, Script, argparse.Namespace]:
    """NAME.sh METHOD SCRIPT, then what the script was given."""
    shown, method, name, *rest = arguments
    script = SCRIPTS[name]
    parser = argparse.ArgumentParser(
        prog=shown,
        description=f"{method}: {script.purpose}.",
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for argument in script.arguments:
        parser.add_argument(argument, type=_TYPES.get(argument, str))
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="further configuration"
    )
    given = parser.parse_args(rest)
    given.config = os.environ.get("CFG", "")
    try:
        check_options(given.options)
    except UsageError as error:
        parser.error(str(error))
    return method, script, given


def check_options(options: Sequence[str]) -> None:
    for key in options[::2]:
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)*", key):
            raise UsageError(f"{key!r} is not a configuration key: expected KEY VALUE pairs")
    if len(options) % 2:
        raise UsageError(f"the key {options[-1]} has no value: expected KEY VALUE pairs")


def precision_here(wanted: str) -> str:
    """The precision asked for; without CUDA and without a wish fp32, which is said."""
    import torch

    if not torch.cuda.is_available():
        wanted = wanted or "fp32"
        print(f"No CUDA device: running on the CPU in {wanted}", flush=True)
    return wanted


def environment_from(values: Mapping[str, Any]) -> Environment:
    """What all runs of a call share, by option name; paths are made absolute."""
    return Environment(
        data=Path(values["data"]).absolute(),
        output=Path(values["output"]).absolute(),
        backbone=values["backbone"],
        precision=values["precision"],
        options=tuple(values["options"]),
    )


def _environment_variables() -> dict[str, str]:
    variables = os.environ
    return {
        "data": variables.get("DATA") or "data",
        "output": variables.get("OUTPUT") or "output",
        "backbone": variables.get("BACKBONE", ""),
        "precision": precision_here(variables.get("PREC", "")),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a script stands for; returns its exit status."""
    method, script, given = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        planned = script.runs(method, given)
        environment = environment_from({**_environment_variables(), "options": given.options})
        for run in planned:
            run_here(run, environment)
    except (UsageError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
