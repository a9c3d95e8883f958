"""Runs that are killed, stopped or short of room, and started again, against unbroken ones."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import yaml

from .faults import Faults
from .judging import is_clear
from .trials import Kind, Outcome, Verdict
from .world import TESTS_BETWEEN, Forked, World, learned, learning_methods, same

PATIENCE = 30
"""Starts after which a run that does not end counts as lost."""


@dataclass
class _Runs(Kind):
    """What the kinds below share: a trial breaks a run of some method one to three times."""

    limit: float = 300.0
    share: float = 3.0
    breaks: int = 3

    def set_up(self, world: World, folder: Path) -> None:
        self.world = world
        self.methods = learning_methods()

    def try_one(self, random: Random, folder: Path) -> Verdict:
        method = random.choice(self.methods)
        settings = TESTS_BETWEEN if random.random() < 0.25 else {}
        reference = self.world.unbroken(method, settings)
        trial = RunTrial(self.world, method, settings, folder)
        times = 0
        for _ in range(random.randint(1, self.breaks)):
            status, stderr, was_broken = self.break_once(trial, random)
            if problem := self.complain(status, stderr):
                return Verdict(Outcome.RAW, problem, times + 1)
            if problem := trial.find_damage():
                return Verdict(Outcome.SILENT, problem, times + 1)
            times += was_broken
            if status == 0:
                break
        status, stderr = trial.start().wait()
        if status:
            return Verdict(
                Outcome.RAW, f"restarted, it ended with {status}:\n{stderr[-3000:]}", times
            )
        problem = trial.find_damage() or trial.compare(reference)
        return Verdict(Outcome.SILENT if problem else Outcome.RIGHT, problem, times)

    def break_once(self, trial: RunTrial, random: Random) -> tuple[int, str, bool]:
        """Start the run and break it: its status, stderr, and whether it was broken."""
        raise NotImplementedError

    def complain(self, status: int, stderr: str) -> str:
        """What is wrong with the way in which it ended, or nothing."""
        raise NotImplementedError


def _wait_for_handlers(pid: int) -> None:
    """Wait until a process handles SIGTERM, which train.py sets after SIGINT, or has ended."""
    status = Path(f"/proc/{pid}/status")
    until = time.monotonic() + 30
    while status.is_file() and time.monotonic() < until:
        caught = [line for line in status.read_text().splitlines() if line.startswith("SigCgt:")]
        if not caught or int(caught[0].split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.001)


class RunTrial:
    """A run of a method in a folder of its own."""

    def __init__(self, world: World, method: str, settings: dict[str, str], folder: Path) -> None:
        self.output, self.folder = folder / "output", folder
        # the unbroken run has no store, which changes no bit
        store = {"STORE.TRAINING": "True", "STORE.FOLDER": str(folder / "store")}
        self.arguments = world.arguments(method, self.output, settings=settings | store)
        self.usual = world.measured(method, settings)
        self.starts = 0

    def start(self, prepare: Callable[[], object] | None = None) -> Forked:
        """Start, or start again."""
        self.starts += 1
        return Forked(self.arguments, self.folder / f"console{self.starts}", prepare)

    def kill_at_a_moment(self, random: Random, number: signal.Signals) -> tuple[int, str, bool]:
        """Start, and send a signal at a random moment of the usual time.

        One that can be handled is sent once train.py's first lines have run: before them Python ends in
        its own way, as docs/reliability.md says.
        """
        run = self.start()
        if number != signal.SIGKILL:
            _wait_for_handlers(run.pid)
        time.sleep(random.uniform(0.0, self.usual["seconds"]))
        run.kill(number)
        status, stderr = run.wait()
        return status, stderr, status != 0

    def fail_at_an_operation(self, random: Random, kinds: Sequence[str]) -> tuple[int, str, bool]:
        """Start, and let one of the usual number of file operations go wrong."""
        return self.fail_at(random.randint(1, self.usual["operations"]), random.choice(kinds))

    def fail_at(self, at: int, kind: str) -> tuple[int, str, bool]:
        """Start, and let the file operation of that number go wrong, if there are so many."""
        note = self.folder / "operations.txt"
        with open(note, "a") as file:
            print(f"start {self.starts + 1}: {kind} at operation {at}", file=file)
        status, stderr = self.start(Faults(self.output, at, kind, note).install).wait()
        return status, stderr, f"\n{at} " in note.read_text().rpartition("start ")[2]

    def find_damage(self) -> str:
        """A file under its own name that cannot be read to its end."""
        for path in sorted(self.output.rglob("*")):
            if not path.is_file() or path.name.startswith(("log.txt", ".")):
                continue
            try:
                if path.suffix == ".json":
                    json.loads(path.read_text())
                elif path.suffix == ".yaml":
                    assert isinstance(yaml.safe_load(path.read_text()), dict)
                elif path.suffix == ".pth" or ".pth.tar" in path.name:
                    torch.load(path, weights_only=True)
                elif path.name == "checkpoint":
                    assert (path.parent / path.read_text().strip()).is_file()
            except Exception as error:
                return f"{path} was left damaged: {error}"
        return ""

    def compare(self, reference: Path) -> str:
        """How the finished run differs from the unbroken one."""
        ours, expected = learned(self.output), learned(reference)
        differing = [key for key in expected if not same(ours[key], expected[key])]
        if differing:
            return f"{', '.join(differing)} differ from the unbroken run's"
        names = [_names(self.output), _names(reference)]
        if names[0] != names[1]:
            return f"the folder's files differ from the unbroken run's: {names[0] ^ names[1]}"
        return ""


def _names(output: Path) -> set[str]:
    """Files of a run, without logs (one a start) and locks (which stay)."""
    paths = (path.relative_to(output) for path in output.rglob("*") if path.is_file())
    return {
        str(path)
        for path in paths
        if not re.match(r"log\.txt|.*\.lock$", path.name) and "tensorboard" not in path.parts
    }


@dataclass
class Kills(_Runs):
    """SIGKILL at a random moment, or before, in or after a random file operation."""

    name: str = "kills"

    def break_once(self, trial: RunTrial, random: Random) -> tuple[int, str, bool]:
        if random.random() < 0.5:
            return trial.kill_at_a_moment(random, signal.SIGKILL)
        return trial.fail_at_an_operation(random, ("killed before", "killed after"))

    def complain(self, status: int, stderr: str) -> str:
        return (
            "" if status in (0, -signal.SIGKILL) else f"it ended with {status}:\n{stderr[-3000:]}"
        )


@dataclass
class Disk(_Runs):
    """A full disk, or one that may not be written, at a random file operation."""

    name: str = "disk"
    share: float = 2.0

    def break_once(self, trial: RunTrial, random: Random) -> tuple[int, str, bool]:
        return trial.fail_at_an_operation(random, ("disk full", "permission denied"))

    def complain(self, status: int, stderr: str) -> str:
        if status == 0 or (status == 2 and is_clear(stderr)):
            return ""
        return f"it ended with {status}:\n{stderr[-3000:]}"


@dataclass
class Signals(_Runs):
    """SIGTERM, as clusters send it, and Ctrl-C, at a random moment."""

    name: str = "signals"
    share: float = 1.0

    def break_once(self, trial: RunTrial, random: Random) -> tuple[int, str, bool]:
        self.number = random.choice((signal.SIGTERM, signal.SIGINT))
        return trial.kill_at_a_moment(random, self.number)

    def complain(self, status: int, stderr: str) -> str:
        if status in (0, 128 + self.number) and "Traceback" not in stderr:
            return ""
        return f"sent {self.number.name}, it ended with {status}:\n{stderr[-3000:]}"
