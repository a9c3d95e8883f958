"""What the scripts call: positional arguments and environment variables become runs of train.py."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from .execution.devices import has_cuda
from .execution.interruptions import Interrupted
from .execution.single_run import RunError, is_taught, run_here
from .published import methods, runs, settings
from .published.methods import OwnScript
from .published.runs import Environment, Run
from .published.settings import UsageError

VARIABLES = """environment variables:
  DATA      the data root (default ./data)
  OUTPUT    the root of the output folders (default ./output)
  CFG       a configuration of the method instead of the published one; "builtin" selects the small
            CLIP that comes with this project
  PREC      fp32, fp16, amp or bf16; without CUDA the default is fp32
  BACKBONE  a CLIP by name, file or folder (docs/backbones.md)
  SOURCE    what cross-dataset transfer trains on (default imagenet; built-in: builtin_things)
  SEEDS     the seeds of scripts that take none (default "1 2 3")

A finished run with the same configuration is kept, an unfinished one goes on, and a folder of another
configuration is refused."""
WITH_TEACHER = "--with-teacher"
SET_ELSEWHERE = {
    "SEED": "SEED or SEEDS (in sweeps --seeds)",
    "OUTPUT_DIR": "OUTPUT (in sweeps --output)",
    "DATASET.NAME": "DATASET (in sweeps --datasets)",
    "DATASET.SUBSAMPLE_CLASSES": "the choice of the script (in sweeps of PROTOCOL)",
    "TRAINER.NAME": "METHOD (in sweeps --methods)",
    "TEST.NO_TEST": "the script, since a table is made of tests",
    "TEST.SPLIT": "the script, since a table is made of the test images",
}
"""What tables and their folders are named for: keys that are no KEY VALUE pairs, and what sets them."""
RUN_SCRIPT = "run.sh"


@dataclass(frozen=True)
class Given:
    """What a script was called with.

    Attributes:
        method: its name.
        seeds: the seed that was given, or those of SEEDS.
        config: CFG, else the CONFIG that was given, else "".
        values: of the other positional arguments, by name.
        options: of arguments that stand for configuration keys.
    """

    method: str
    seeds: Sequence[int]
    config: str
    values: Mapping[str, Any]
    options: Mapping[str, Any]

    @property
    def source(self) -> str:
        """What cross-dataset transfer trains on."""
        return settings.find_dataset(os.environ.get("SOURCE") or settings.source_of(self.config))

    @property
    def weights(self) -> Path:
        """The folder of given weights, as seen from where the script was called."""
        return Path(os.environ.get("CALLED_FROM", ""), Path(self.values["WEIGHTS"]).expanduser())


@dataclass(frozen=True)
class Script:
    """A script: what it is for, its positional arguments, and the run that they mean for a seed.

    Attributes:
        purpose: for its help text.
        arguments: their names, in order; without SEED it runs all of SEEDS.
        make: the runs of one seed.
        protocol: the one that they belong to.
        fixed: values of arguments that it does not take.
        options: the argument, by configuration key, that gives the value.
        trained_by: of a test, the script that trains what it tests.
    """

    purpose: str
    arguments: tuple[str, ...]
    make: Callable[[Given, int], list[Run]]
    protocol: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    trained_by: str = ""

    def runs(self, given: Given) -> list[Run]:
        """All runs that the script stands for."""
        return [run for seed in given.seeds for run in self.make(given, seed)]


def _base2new_train(given: Given, seed: int) -> list[Run]:
    dataset = given.values["DATASET"]
    return [runs.base2new_train(given.method, dataset, seed, given.config, given.options)]


def _base2new_test(given: Given, seed: int) -> list[Run]:
    test = partial(runs.base2new_test, given.method, given.values["DATASET"], seed, given.config)
    return [test(options=given.options)]


def _xd_train(given: Given, seed: int) -> list[Run]:
    dataset = given.values.get("DATASET", given.source)
    return [runs.cross_dataset_train(given.method, dataset, seed, given.config, given.options)]


def _xd_test(given: Given, seed: int) -> list[Run]:
    dataset = given.values["DATASET"]
    test = partial(runs.cross_dataset_test, given.method, given.source, dataset, seed)
    return [test(given.config, options=given.options)]


def _few_shot(given: Given, seed: int) -> list[Run]:
    counts = [given.values["SHOTS"]] if "SHOTS" in given.values else settings.FEW_SHOTS
    train = partial(runs.few_shot, given.method, given.values["DATASET"])
    return [train(count, seed, given.config, given.options) for count in counts]


def _eval(given: Given, seed: int) -> list[Run]:
    dataset, shots = given.values["DATASET"], given.values.get("SHOTS", settings.SHOTS)
    test = partial(runs.few_shot_elsewhere, given.method, given.source, dataset, shots, seed)
    return [test(given.config, given.options)]


def _reproduce_base2novel_setting(given: Given, seed: int) -> list[Run]:
    test = partial(runs.base2new_test, given.method, given.values["DATASET"], seed, given.config)
    weights = str(given.weights / "base" / f"seed{seed}")
    return [test(half, weights, given.options) for half in ("base", "new")]


def _reproduce_xd(given: Given, seed: int) -> list[Run]:
    dataset = given.values["DATASET"]
    test = partial(runs.cross_dataset_test, given.method, given.source, dataset, seed)
    return [test(given.config, str(given.weights / f"seed{seed}"), given.options)]


def _reproduce_few_shot(given: Given, seed: int) -> list[Run]:
    dataset, shots = given.values["DATASET"], given.values["SHOTS"]
    weights = str(given.weights / f"{shots}shot" / f"seed{seed}")
    test = partial(runs.few_shot_test, given.method, dataset, shots, seed, weights)
    return [test(given.config, given.options)]


def _zero_shot_halves(given: Given, seed: int) -> list[Run]:
    test = partial(runs.base2new_test, given.method, given.values["DATASET"], seed, given.config)
    return [test(half) for half in ("base", "new")]


def _zero_shot(given: Given, seed: int) -> list[Run]:
    return [runs.zero_shot(given.method, given.values["DATASET"], given.config)]


SCRIPTS = {
    "base2new_train": Script(
        "train on the base classes of a dataset, 16 shots, and test them",
        ("DATASET", "SEED"),
        _base2new_train,
        "base2new",
    ),
    "base2new_test": Script(
        "test the new classes with the prompts of base2new_train",
        ("DATASET", "SEED"),
        _base2new_test,
        "base2new",
        trained_by="base2new_train",
    ),
    "xd_train": Script(
        "train on all classes of the source, 16 shots, and test them",
        ("DATASET", "SEED"),
        _xd_train,
        "cross_dataset",
    ),
    "xd_test": Script(
        "test another dataset with the prompts that xd_train trained on the source",
        ("DATASET", "SEED"),
        _xd_test,
        "cross_dataset",
        trained_by="xd_train",
    ),
    "few_shot": Script(
        "train on all classes with SHOTS images a class, seeds 1 2 3, and test them",
        ("DATASET", "SHOTS"),
        _few_shot,
        "few_shot",
    ),
    "eval": Script(
        "test another dataset with the prompts of few_shot with 16 shots on the source, seeds 1 2 3",
        ("DATASET", "CONFIG"),
        _eval,
        "cross_dataset",
        trained_by="few_shot",
    ),
    "reproduce_base2novel_setting": Script(
        "test the weights in WEIGHTS/base/seedSEED on the base and on the new classes",
        ("DATASET", "SEED", "WEIGHTS"),
        _reproduce_base2novel_setting,
        "base2new",
    ),
    "reproduce_xd": Script(
        "test the weights in WEIGHTS/seedSEED, trained on the source, on another dataset",
        ("DATASET", "SEED", "WEIGHTS"),
        _reproduce_xd,
        "cross_dataset",
    ),
    "reproduce_few_shot": Script(
        "test the weights in WEIGHTS/SHOTSshot/seedSEED, seeds 1 2 3, on all classes",
        ("DATASET", "SHOTS", "WEIGHTS"),
        _reproduce_few_shot,
        "few_shot",
    ),
}
"""The scripts of every method that trains."""

ONE_SEED = {"SEED": 1}
ZERO_SHOT_SCRIPTS = {
    "base2new_test": Script(
        "test the base and the new classes", ("DATASET",), _zero_shot_halves, "base2new", ONE_SEED
    ),
    "xd_test": Script(
        "test all classes of a dataset", ("DATASET",), _zero_shot, "cross_dataset", ONE_SEED
    ),
}
"""The scripts of methods that train nothing."""


def scripts_of(method: str) -> dict[str, Script]:
    """All scripts of a method: the common ones of the protocols that it serves, then its own."""
    found = methods.find(method)
    common = ZERO_SHOT_SCRIPTS if found.zero_shot else SCRIPTS
    common = {name: each for name, each in common.items() if found.serves(each.protocol)}
    return {**common, **{name: _own(common, own) for name, own in found.scripts.items()}}


def _own(common: Mapping[str, Script], own: OwnScript) -> Script:
    if own.runs not in common:
        raise settings.closest("script that others can stand for", own.runs, tuple(common))
    known = common[own.runs]
    fixed = {**known.fixed, **own.fixed}
    return replace(
        known, purpose=own.purpose, arguments=own.arguments, fixed=fixed, options=own.options
    )


def _check_trained(run: Run, script: Script, environment: Environment) -> None:
    """Raise RunError where the prompts that a run tests are not there."""
    if not run.source:
        return
    folder = environment.output / run.source.folder
    if not any(folder.glob("*/model*.pth.tar*")):
        make = SCRIPTS[script.trained_by].make
        scripts = [name for name, each in scripts_of(run.method).items() if each.make is make]
        raise RunError(
            f"{run.method} is not trained on {run.source.dataset}, seed {run.source.seed}: {folder} "
            f"holds no prompts to test. Train it first, by {' or '.join(scripts)} with the same "
            "settings"
        )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def _truth(text: str) -> bool:
    if text not in ("True", "False"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return text == "True"


def _number(text: str) -> str:
    """A number as it was typed, since folders are named by it."""
    try:
        float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    return text


def _dataset(text: str) -> str:
    try:
        return settings.find_dataset(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


_TYPES = {"DATASET": _dataset, **dict.fromkeys(("SEED", "SHOTS", "EPOCH"), _count)}
_TYPES_LIKE = {bool: _truth, int: _count, float: _number}


def _type(method: str, script: Script, argument: str) -> Callable[[str], Any]:
    """How an argument is read: by its name, or as the published value of the key that it sets."""
    keys = [key for key, name in script.options.items() if name == argument]
    example = methods.find(method).example(keys[0]) if keys else None
    return _TYPES.get(argument, str) if example is None else _TYPES_LIKE.get(type(example), str)


def seeds_of_environment() -> list[int]:
    """The seeds of scripts that take none: SEEDS, else the papers'.

    Raises:
        UsageError: SEEDS holds something else than numbers from 1 up, or one of them twice.
    """
    try:
        seeds = [_count(seed) for seed in os.environ.get("SEEDS", "").split()]
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"SEEDS: {error}") from error
    settings.refuse_twice("seed", seeds)
    return seeds or list(settings.SEEDS)


def overview(method: str = "") -> str:
    """What there is: all methods and the scripts that they share, or the scripts of one method."""
    lines = [f"usage: {RUN_SCRIPT} METHOD SCRIPT ARGUMENTS... [KEY VALUE ...]", ""]
    if method:
        title, scripts = f"scripts of {method}:", scripts_of(method)
    else:
        lines += [f"methods: {', '.join(methods.names())}", ""]
        title, scripts = "scripts of methods that train:", SCRIPTS
    lines += [title]
    for name, script in scripts.items():
        lines += [f"  {name} {' '.join(script.arguments)}", f"      {script.purpose}"]
    if not method:
        lines += ["", f"{RUN_SCRIPT} METHOD lists all scripts of a method."]
    return "\n".join([*lines, "", VARIABLES])


def parse(arguments: Sequence[str]) -> tuple[Script, Given, tuple[str, ...], bool]:
    """NAME.sh METHOD SCRIPT, then what the script was given.

    Returns:
        the script, its arguments, KEY VALUE pairs, and whether teachers are to be trained first.

    Raises:
        UsageError: there is no such method or script.
    """
    shown, method, name, *rest = arguments
    method = methods.find_name(method)
    scripts = scripts_of(method)
    if name not in scripts:
        raise settings.closest(f"script of {method}", name, tuple(scripts))
    script = scripts[name]
    parser = argparse.ArgumentParser(
        prog=f"{shown} {method} {name}" if Path(shown).name == RUN_SCRIPT else shown,
        description=f"{method}: {script.purpose}.",
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for argument in script.arguments:
        parser.add_argument(argument, type=_type(method, script, argument))
    teacher = "first train what the method learns from, where that is another method's run"
    parser.add_argument(WITH_TEACHER, action="store_true", help=teacher)
    pairs = parser.add_argument(
        "options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="further configuration"
    )
    pairs.required = False  # or it is named where another argument is missing
    # behind the positional arguments it would be taken for a key
    with_teacher = WITH_TEACHER in rest
    given = parser.parse_args([word for word in rest if word != WITH_TEACHER])
    try:
        check_options(given.options)
    except UsageError as error:
        parser.error(str(error))
    return script, _given(method, script, vars(given)), tuple(given.options), with_teacher


def _given(method: str, script: Script, parsed: Mapping[str, Any]) -> Given:
    values = {**script.fixed, **{name: parsed[name] for name in script.arguments}}
    return Given(
        method=method,
        seeds=[values["SEED"]] if "SEED" in values else seeds_of_environment(),
        config=os.environ.get("CFG") or values.get("CONFIG", ""),
        values=values,
        options={key: values[name] for key, name in script.options.items()},
    )


def check_options(options: Sequence[str]) -> None:
    """Raise UsageError where options are no KEY VALUE pairs, or set what tables are made of."""
    for key in options[::2]:
        if key in SET_ELSEWHERE:
            raise UsageError(
                f"{key} cannot be a KEY VALUE pair here: it is set by {SET_ELSEWHERE[key]}. Leave it "
                "out; train.py alone takes it"
            )
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)*", key):
            raise UsageError(f"{key!r} is not a configuration key: expected KEY VALUE pairs")
    if len(options) % 2:
        raise UsageError(f"the key {options[-1]} has no value: expected KEY VALUE pairs")


def precision_here(wanted: str) -> str:
    """The precision asked for; without CUDA and without a wish fp32, which is said."""
    if not has_cuda():
        wanted = wanted or "fp32"
        print(f"No CUDA device: running on the CPU in {wanted}", flush=True)
    return wanted


def environment_from(values: Mapping[str, Any]) -> Environment:
    """What all runs of a call share, by option name; paths are made absolute.

    Raises:
        UsageError: the output root cannot be a folder.
    """
    output = Path(values["output"]).absolute()
    there = next(path for path in (output, *output.parents) if path.exists())
    if not there.is_dir():
        raise UsageError(
            f"the output root {output} cannot be a folder, since {there} is a file: choose another "
            "one (OUTPUT, --output)"
        )
    return Environment(
        data=Path(values["data"]).absolute(),
        output=output,
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
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if len(words) < 3 or words[1] in ("-h", "--help") or words[2] in ("-h", "--help"):
            named = len(words) > 1 and not words[1].startswith("-")
            print(overview(methods.find_name(words[1]) if named else ""))
            return 0
        script, given, options, with_teacher = parse(words)
        planned = script.runs(given)
        environment = environment_from({**_environment_variables(), "options": options})
        for run in planned:
            _check_trained(run, script, environment)
            if with_teacher and not is_taught(run, environment):
                run_here(run.teacher, environment)
            run_here(run, environment)
    except (UsageError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "status", 2)
    except KeyboardInterrupt as interruption:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return getattr(interruption, "status", Interrupted.BY_KEYBOARD)
    return 0


if __name__ == "__main__":
    sys.exit(main())
