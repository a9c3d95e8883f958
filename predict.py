"""Classify pictures with what a run has learned, or with CLIP as it is.

    python predict.py RUN PICTURES...
    python predict.py RUN folder --csv answers.csv --classes "red fox" badger
    python predict.py --zero-shot ViT-B/16 photo.jpg --classes cat dog

RUN is the folder of a finished training or a file of prompts; PICTURES are files, folders (whose
pictures are found at any depth), or - for a list of paths on standard input. A few pictures make a
table, many make CSV. A picture that cannot be read is reported, the others are classified; a mistake
is one line on standard error and exit status 2.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    gc.disable()  # until train.py is imported too, which says why and ends it

import argparse
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from inference import Classifier, answers, class_folders, outputs, runs
from inference.answers import Answers
from inference.listing import list_pictures, read_classes
from prompting.command_line import Parser
from prompting.errors import InputError
from prompting.tensors import lacks_memory
from train import run_program

FEW = 20
"""As many pictures are shown in a table."""
REPORTED = 5


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line.

    Raises:
        InputError: an unknown flag, or values that do not go together.
    """
    parser = Parser(
        prog="python predict.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("given", nargs="*", metavar="RUN PICTURES", help="the run, then the pictures")
    add("--zero-shot", metavar="BACKBONE", help="CLIP as it is, instead of RUN; needs class names")
    add("--classes", nargs="+", metavar="NAME", help="other class names than the run's")
    add("--classes-file", type=Path, metavar="FILE", help="class names, a line each")
    add("--activation", help="with --zero-shot FILE: gelu or quick_gelu, where FILE does not say")
    add("--template", help='with --zero-shot: what CLIP is asked, by default "a photo of a {}."')
    add("--top", type=int, default=3, metavar="K", help="classes in every answer (default: 3)")
    add("--min-probability", type=float, default=0.0, metavar="P", help="no name for less")
    add("--csv", type=Path, metavar="FILE", help="write the answers as CSV")
    add("--json", type=Path, metavar="FILE", help="write the answers as JSON")
    add("--move-into", type=Path, metavar="DIR", help="move every named picture to DIR/CLASS/")
    add(
        "--batch-size",
        type=int,
        metavar="N",
        help="pictures at once (default: as in the run's test)",
    )
    add("--workers", type=int, metavar="N", help="processes that read pictures")
    add("--backbone", help="the CLIP, where the one that RUN names lies elsewhere here")
    add("--device", help="cpu or cuda (default: CUDA where there is one)")
    add("--precision", help="fp32, fp16, amp or bf16 (default: as trained)")
    add("--debug", action="store_true", help="show the traceback of every error")
    given = parser.parse_args(arguments)
    check_arguments(given)
    return given


def check_arguments(given: argparse.Namespace) -> None:
    """Refuse what does not go together.

    Raises:
        InputError: says what.
    """
    if given.classes and given.classes_file:
        raise InputError("--classes and --classes-file are both given: keep one of them")
    if given.csv and given.json:
        raise InputError("--csv and --json are both given: keep one of them")
    if given.zero_shot and not (given.classes or given.classes_file):
        raise InputError("--zero-shot needs class names: --classes NAME ... or --classes-file FILE")
    if given.zero_shot and given.backbone:
        raise InputError("--zero-shot names the backbone itself: leave --backbone out")
    for flag, value in (("--template", given.template), ("--activation", given.activation)):
        if value and not given.zero_shot:
            raise InputError(f"{flag} is for --zero-shot: a run has its own")
    if not 0 <= given.min_probability <= 1:
        raise InputError(f"--min-probability is {given.min_probability}: expected 0 to 1")
    for flag, value, least in (
        ("--top", given.top, 1),
        ("--batch-size", given.batch_size, 1),
        ("--workers", given.workers, 0),
    ):
        if value is not None and value < least:
            raise InputError(f"{flag} is {value}: expected at least {least}")
    if not given.zero_shot and len(given.given) < 2:
        raise InputError(
            "expected a run and pictures: python predict.py RUN PICTURES... (before --classes, which "
            "takes all that follows it)"
        )


def load(given: argparse.Namespace) -> Classifier:
    """The classifier that the command line asks for; says what it is."""
    names = read_classes(given.classes_file) if given.classes_file else given.classes
    if given.zero_shot:
        template = {"template": given.template} if given.template else {}
        precision = given.precision or "fp32"
        classifier = Classifier.zero_shot(
            given.zero_shot,
            names,
            device=given.device,
            precision=precision,
            activation=given.activation or "",
            **template,
        )
        for note in classifier.model.clip.notes:
            print(f"note: {note}", file=sys.stderr)
    else:
        run = given.given[0]
        classifier = Classifier.load(run, given.device, given.precision, given.backbone)
        if names:
            classifier = _with_classes(classifier, names)
    precision = classifier.precision
    print(
        f"{classifier.method} on {classifier.backbone}, {len(classifier.classes)} classes, "
        f"{precision.name} on {precision.device}",
        file=sys.stderr,
    )
    if len(classifier.classes) == 1:
        print("note: of one class the probability is always 1, and says nothing", file=sys.stderr)
    return classifier


def _with_classes(classifier: Classifier, names: Sequence[str]) -> Classifier:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        other = classifier.with_classes(names)
    for warning in said:
        print(f"note: {warning.message}", file=sys.stderr)
    return other


def find_pictures(given: argparse.Namespace) -> list[str]:
    """The pictures that the command line names.

    Raises:
        InputError: there is none, or a run is given where pictures are expected.
    """
    pictures = given.given if given.zero_shot else given.given[1:]
    for path in filter(runs.is_folder_of_run, pictures):
        instead = "leave it or --zero-shot out" if given.zero_shot else "give one run alone"
        raise InputError(f"{path} is the folder of a run, where pictures are expected: {instead}")
    return list_pictures(pictures)


def check_outputs(given: argparse.Namespace) -> None:
    """Refuse, before anything is computed, where answers or pictures could not go.

    Raises:
        InputError: says where, and why.
    """
    for path, kind in ((given.csv, outputs.CSV), (given.json, outputs.JSON)):
        if path:
            outputs.check_output(path, kind)
    if folder := given.move_into:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--move-into {folder} is no folder")
        # a new folder is made in the one above
        outputs.check_file(folder / "class" if folder.is_dir() else folder.absolute())


def main(arguments: Sequence[str] | None = None) -> None:
    """Classify what the command line names.

    Raises:
        InputError: something that was given does not fit; nothing was written or moved.
    """
    given = parse_arguments(arguments)
    paths = find_pictures(given)
    check_outputs(given)
    classifier = load(given)
    if given.move_into:
        class_folders.check(paths, classifier.classes, given.move_into)
    top = min(given.top, len(classifier.classes))
    found = classifier.stream(paths, top, given.batch_size, given.workers, progress=True)
    asked = Answers(found, top, given.min_probability)
    try:
        _show(given, classifier, asked, len(paths))
    except (RuntimeError, MemoryError) as error:
        if owner := lacks_memory(error):
            raise InputError(
                f"{owner} has too little memory for so many pictures at once: lower --batch-size "
                f"(it is {given.batch_size or classifier.batch_size})"
            ) from error
        raise
    if given.move_into:
        moved = class_folders.move(asked.named, given.move_into)
        print(f"{moved} pictures moved into {given.move_into}", file=sys.stderr)
    for path, reason in asked.unreadable[:REPORTED]:
        print(f"{path} cannot be read: {reason}", file=sys.stderr)
    if asked.unreadable:
        print(f"{len(asked.unreadable)} of {asked.count} pictures were not read", file=sys.stderr)


def _show(given: argparse.Namespace, classifier: Classifier, asked: Answers, count: int) -> None:
    if path := given.csv:
        answers.write(path, asked.write_csv)
    elif path := given.json:
        about = {
            "method": classifier.method,
            "backbone": classifier.backbone,
            "classes": classifier.classes,
            "min_probability": given.min_probability,
        }
        answers.write(path, lambda file: asked.write_json(file, about))
    elif count <= FEW:
        print(asked.table())
    else:
        asked.write_csv(sys.stdout)
    if path:
        print(f"{asked.count} pictures: {path}", file=sys.stderr)


if __name__ == "__main__":
    # so that half a file is removed on the way out
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        sys.exit(run_program(main))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
