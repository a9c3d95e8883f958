"""Trials of readers: a damaged copy of an intact file is read by a function of this project."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import dassl.utils

import datasets.errors
import prompting.errors

from . import malice
from .judging import LONGEST
from .trials import Kind, Outcome, Verdict
from .world import World, same

INPUT_ERRORS = (
    prompting.errors.InputError,
    datasets.errors.InputError,
    dassl.utils.InputError,
)


class Impossible(Exception):
    """What the model of a format says of a file that no reader may accept."""


class ToBeSaid(Impossible):
    """The same, unless a line in the log says what is wrong; then it holds ``value``."""

    def __init__(self, reason: str, value: Any) -> None:
        super().__init__(reason)
        self.value = value


@dataclass
class Reader(Kind):
    """A kind that damages a file and reads it.

    A subclass gives `intact` (what the file holds and the value that reading it gives), `read`, and
    `expected`: what a changed file legitimately says, by a reading of the format that shares nothing
    with ours.
    """

    refusals: tuple[type[Exception], ...] = INPUT_ERRORS
    also_named: str = "\n"
    """What may stand for the file in a message, such as its dataset's name."""
    isolated: bool = False
    """Whether each trial has a process of its own, since reading changes what it reads into."""

    def set_up(self, world: World, folder: Path) -> None:
        os.chdir(folder)
        self.marker = folder / "executed"
        self.world = world
        with quiet() as shown:
            self.prepare(world, folder)
        self.usually_said = set(shown.getvalue().splitlines())

    def prepare(self, world: World, folder: Path) -> None:
        """Read the intact files, once a process."""
        raise NotImplementedError

    def damage(self, random: Random, folder: Path) -> Path:
        """Write a damaged file into the folder; returns its path."""
        raise NotImplementedError

    def read(self, path: Path) -> Any:
        """Read it as the project does."""
        raise NotImplementedError

    def intact(self, path: Path) -> Any:
        """What reading the undamaged file gives; by default what `prepare` kept of it."""
        return self.whole

    def expected(self, path: Path, value: Any) -> Any:
        """What the damaged file says, where it may say something else than the intact one; ``value``,
        what was read, where the format cannot tell.

        Raises:
            Impossible: it must be refused.
        """
        raise Impossible("its bytes are not what was written")

    def is_named(self, message: str, path: Path) -> bool:
        """Whether a refusal names what it refuses."""
        return path.name in message or self.also_named in message

    def try_one(self, random: Random, folder: Path) -> Verdict:
        path = self.damage(random, folder)
        malice.clear(self.marker)
        judge = self._read_and_judge
        verdict = in_a_fork(lambda: judge(path)) if self.isolated else judge(path)
        if malice.executed(self.marker):
            return Verdict(Outcome.SILENT, f"it executed what the file holds; then: {verdict.why}")
        return verdict

    def _read_and_judge(self, path: Path) -> Verdict:
        try:
            with quiet() as shown:
                value = self.read(path)
        except self.refusals as error:
            return self._judge_refusal(error, path)
        except BaseException as error:
            (path.parent / "traceback.txt").write_text(traceback.format_exc())
            return Verdict(Outcome.RAW, f"{type(error).__module__}.{type(error).__name__}: {error}")
        if same(value, self.intact(path)):
            return Verdict(Outcome.RIGHT)
        try:
            with quiet():
                expected = self.expected(path, value)
        except ToBeSaid as reason:
            expected = reason.value
            if set(shown.getvalue().splitlines()) <= self.usually_said:
                return Verdict(Outcome.SILENT, f"accepted, and not said that {reason}")
        except Impossible as reason:
            return Verdict(Outcome.SILENT, f"accepted, though {reason}: {_short(value)}")
        if same(value, expected):
            return Verdict(Outcome.RIGHT)
        return Verdict(Outcome.SILENT, f"read as {_short(value)}, but it says {_short(expected)}")

    def _judge_refusal(self, error: Exception, path: Path) -> Verdict:
        message = str(error)
        if len(message.strip().splitlines()) > LONGEST:
            return Verdict(Outcome.RAW, f"a message of more than {LONGEST} lines: {message}")
        if not self.is_named(message, path):
            return Verdict(Outcome.RAW, f"a message that does not name the file: {message}")
        return Verdict(Outcome.REFUSED, message)


def in_a_fork(function: Callable[[], Any]) -> Any:
    """What a function returns in a child process, or the verdict that the process died."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        with open(theirs, "wb") as file:
            file.write(pickle.dumps(function()))
        os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as file:
        content = file.read()
    _, status = os.waitpid(pid, 0)
    if not content:
        return Verdict(Outcome.RAW, f"the process died with {os.waitstatus_to_exitcode(status)}")
    return pickle.loads(content)


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Nothing is shown; what would have been comes back."""
    shown = io.StringIO()
    with (
        contextlib.redirect_stdout(shown),
        contextlib.redirect_stderr(shown),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield shown


def _short(value: Any) -> str:
    return " ".join(f"{value!r}"[:5000].split())[:500]
