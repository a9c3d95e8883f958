"""From a folder of pictures to a classifier: check, look at zero-shot CLIP, train, compare, share.

    bash scripts/own_pictures.sh FOLDER [--shots K] [--method METHOD] [--classes-file FILE] [--builtin]

FOLDER holds train/CLASS/*.jpg and test/CLASS/*.jpg; without test/, or with FOLDER/CLASS/*.jpg alone, a
part of the pictures is held out as test. The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from prompting.command_line import Parser
from prompting.errors import InputError
from protocols.execution.single_run import RunError
from protocols.published import methods
from protocols.published.settings import UsageError
from train import run_program

from . import steps
from .planning import BUILTIN_CLIP, Wish, make_plan

SHOTS = 16
OUTPUT_ROOT = "another output root (OUTPUT in the environment)"
EPILOG = """environment variables:
  BACKBONE  an OpenAI CLIP by name, or a file, instead of the one chosen for this machine
  PREC      fp32, fp16, amp or bf16, instead of the one measured to be fastest
  CFG       a configuration of the method, instead of the published one
  OUTPUT    the root of the output folders (default ./output)"""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line.

    Raises:
        InputError: an unknown flag or method, or values that do not fit.
    """
    parser = Parser(
        prog="bash scripts/own_pictures.sh",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="the pictures, a folder a class")
    add("--shots", type=int, default=SHOTS, metavar="K", help="training pictures a class (16)")
    add("--method", default="PromptSRC", help="what is trained (PromptSRC)")
    add("--classes-file", type=Path, metavar="FILE", help="lines LABEL readable name")
    add("--builtin", action="store_true", help="the small CLIP of this project: quick, and weak")
    add("--debug", action="store_true", help="show the traceback of every error")
    add("options", nargs="*", metavar="KEY VALUE", help="further configuration")
    given = parser.parse_intermixed_args(arguments)
    given.folder = _seen_from_the_caller(given.folder)
    given.classes_file = given.classes_file and _seen_from_the_caller(given.classes_file)
    given.method = methods.find_name(given.method)
    if methods.is_zero_shot(given.method):
        raise InputError(f"--method {given.method} learns nothing: expected a method that trains")
    if given.shots < 1:
        raise InputError(f"--shots is {given.shots}: expected at least 1")
    if given.builtin and os.environ.get("BACKBONE"):
        raise InputError("--builtin and BACKBONE are both given: keep one of them")
    if len(given.options) % 2:
        raise InputError(f"{given.options[-1]} has no value: expected KEY VALUE pairs")
    return given


def _seen_from_the_caller(path: Path) -> Path:
    return Path(os.environ.get("CALLED_FROM", ""), path.expanduser()).absolute()


def main(arguments: Sequence[str] | None = None) -> None:
    """All steps, one after the other.

    Raises:
        InputError: something that was given does not fit.
    """
    try:
        _run(parse_arguments(arguments))
    except (InputError, UsageError, RunError) as error:
        raise InputError(_with_own_names(str(error))) from error


def _with_own_names(message: str) -> str:
    """What the programs under this one advise, without flags that this one does not have."""
    for theirs in ("another output root (OUTPUT, --output)", "another --output-dir"):
        message = message.replace(theirs, OUTPUT_ROOT)
    return message


def _run(given: argparse.Namespace) -> None:
    pictures = steps.check_pictures(given.folder, given.classes_file)
    if given.builtin:
        torch.set_num_threads(1)  # so small a CLIP gains nothing from more
    wish = Wish(
        pictures,
        given.method,
        given.shots,
        output=Path(os.environ.get("OUTPUT") or "output").absolute(),
        config=os.environ.get("CFG", ""),
        backbone=BUILTIN_CLIP if given.builtin else os.environ.get("BACKBONE", ""),
        precision=os.environ.get("PREC", ""),
        options=given.options,
    )
    plan = make_plan(wish)
    before = steps.show_zero_shot(plan)
    steps.train(plan)
    page = steps.show_both(plan, before)
    shared = steps.share(plan)
    print(f"\nThe page to look at: {_shown(page)}")
    print(f"The file to share:   {_shown(shared)}")
    print(f"Classify pictures:   python predict.py {shlex.quote(_shown(plan.folder))} PICTURES...")


def _shown(path: Path) -> str:
    """As short as it can be given in the checkout, where predict.py is."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    # so that the training is told to stop
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        sys.exit(run_program(main))
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on with it", file=sys.stderr)
        sys.exit(130)
