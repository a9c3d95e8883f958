"""What a run has learned, looked at: one page, with its figures beside it.

    python -m inference.inspect RUN

RUN is the folder of a finished training or a file of prompts. Its test set is classified again, and by
zero-shot CLIP; RUN/inspect/index.html then shows accuracy by class, the confusion matrix, the surest
mistakes, calibration, the words nearest to what was learned, and the curves of the training. KEY VALUE
pairs say other data than the training's, such as DATASET.SUBSAMPLE_CLASSES new.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from matplotlib import rc_context

from prompting.command_line import Parser
from prompting.errors import InputError
from prompting.files import write_atomically

from . import runs
from .answers import write
from .charts import STYLE
from .inspection import Inspection, inspect_run
from .outputs import check_file
from .page import as_png, make_page
from .sections import about, all_sections, cards, classes_table, pictures_table

PAGE = "index.html"
FOLDER = "inspect"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line.

    Raises:
        InputError: an unknown flag, or no folder to write into.
    """
    parser = Parser(
        prog="python -m inference.inspect",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="the folder of a finished training, or a file of prompts")
    add("--output", type=Path, metavar="DIR", help="where the page goes (default: RUN/inspect)")
    add("--root", help="the folder that holds the datasets, where the training had another")
    add("--backbone", help="the CLIP, where the one that RUN names lies elsewhere here")
    add("--device", help="cpu or cuda (default: CUDA where there is one)")
    add("--precision", help="fp32, fp16, amp or bf16 (default: as trained)")
    add("--debug", action="store_true", help="show the traceback of every error")
    add("options", nargs="*", metavar="KEY VALUE", help="other data")
    given = parser.parse_intermixed_args(arguments)
    run = Path(given.run).expanduser()
    if not given.output and run.is_file():
        raise InputError(f"{run} is a file: say with --output DIR where the page shall go")
    given.output = given.output or run / FOLDER
    return given


def check_folder(folder: Path) -> None:
    """Refuse, before anything is computed, a folder that could not be written into.

    Raises:
        InputError: says why.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder: say in which folder the page shall be")
    check_file(folder / PAGE if folder.is_dir() else folder)


def write_page(found: Inspection, folder: Path) -> Path:
    """Write index.html, a PNG a figure, classes.csv and pictures.csv into a folder; returns the page.

    Raises:
        InputError: there is no room.
    """
    there = folder.is_dir()
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a font lacks signs that a browser has
        sections = all_sections(found)
        data = found.cfg.DATASET
        title = f"{found.method} on {Path(data.DIR).name or data.NAME}"
        text = make_page(title, about(found), cards(found), sections, str(found.run))
        drawn = {
            name: as_png(figure) for name, figure in filter(None, (s.figure for s in sections))
        }
    try:
        for name, content in drawn.items():
            write_atomically(folder / f"{name}.png", lambda path, it=content: path.write_bytes(it))
        write(folder / "classes.csv", lambda file: classes_table(found).write_csv(file))
        write(folder / "pictures.csv", lambda file: pictures_table(found).write_csv(file))
        write(folder / PAGE, lambda file: file.write(text))  # last, so that it finds all the others
    finally:
        if not there:
            with suppress(OSError):  # goes where nothing came into it
                folder.rmdir()
    return folder / PAGE


def main(arguments: Sequence[str] | None = None) -> None:
    """The command.

    Raises:
        InputError: something that was given does not fit; nothing was written.
    """
    given = parse_arguments(arguments)
    runs.find(given.run)
    check_folder(given.output)
    found = inspect_run(
        given.run,
        given.root,
        given.options,
        given.device,
        given.precision,
        given.backbone,
        progress=True,
    )
    page = write_page(found, given.output)
    for figure, what in cards(found):
        print(f"{figure:>7}  {what}")
    print(f"{page}: open it in a browser; its figures and tables are beside it")


if __name__ == "__main__":
    from train import run_program

    sys.exit(run_program(main))
