"""Executing the runs of a table: what is missing, in order of dependence, on whatever there is."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from ..published.runs import Environment, Run
from .interruptions import Interrupted, noted_interruptions
from .progress import last_progress
from .sharing import Sharing
from .single_run import RunError, finished, started

CONSOLE = "console.txt"
ANOTHER_ATTEMPT = "---- another attempt ----"
TAIL = 15
POLL_SECONDS = 0.5
PROGRESS_SECONDS = 10
_ACCURACY = re.compile(r" acc (\S+)|classes: ([\d.]+)%")


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its accuracy in percent, or what went wrong."""

    accuracy: float | None = None
    problem: str = ""
    kept: bool = False


class Executor(Protocol):
    """Something that executes runs."""

    def free(self) -> bool:
        """Whether another run can be handed over."""

    def submit(self, run: Run) -> None:
        """Take a run."""

    def collect(self) -> list[tuple[Run, Outcome]]:
        """The runs that have ended since the last call."""

    def stop(self) -> None:
        """End what is running."""


def console_tail(run: Run, environment: Environment) -> str:
    """The last lines that a run's last attempt printed."""
    lines = _end_of(environment.output / run.folder / CONSOLE).splitlines()
    return "\n".join(f"    {line}" for line in lines[-TAIL:])


def ended(run: Run, environment: Environment, status: int) -> Outcome:
    """The outcome of a process that has ended with a status."""
    if status:
        tail = console_tail(run, environment)
        if status < 0:  # it could not say why; the last line is what the summary shows
            killed = f"train.py was killed by signal {-status}, as for lack of memory"
            return Outcome(problem=f"its last lines:\n{tail}\n    {killed}")
        return Outcome(problem=f"train.py ended with status {status}; its last lines:\n{tail}")
    try:
        accuracy = finished(run, environment)
    except RunError as error:
        return Outcome(problem=str(error))
    if accuracy is None:
        return Outcome(problem="train.py ended without a result")
    return Outcome(accuracy)


@dataclass
class LocalExecutor:
    """Processes on this machine.

    Attributes:
        environment: of all runs.
        jobs: runs at a time.
        threads: of each run.
        devices: CUDA devices; each job has one of its own, or shares it where jobs are more.
    """

    environment: Environment
    jobs: int
    threads: int
    devices: Sequence[str] = ()
    _running: dict[int, tuple] = field(default_factory=dict)

    def free(self) -> bool:
        return len(self._running) < self.jobs

    def submit(self, run: Run) -> None:
        slot = next(slot for slot in range(self.jobs) if slot not in self._running)
        device = self.devices[slot % len(self.devices)] if self.devices else None
        with ExitStack() as stack:
            console = stack.enter_context(open_console(run, self.environment))
            process = stack.enter_context(
                started(run, self.environment, console, self.threads, device)
            )
            self._running[slot] = (run, process, stack.pop_all())

    def collect(self) -> list[tuple[Run, Outcome]]:
        outcomes = []
        for slot, (run, process, stack) in list(self._running.items()):
            status = process.poll()
            if status is not None:
                stack.close()
                del self._running[slot]
                outcomes.append((run, ended(run, self.environment, status)))
        return outcomes

    def stop(self) -> None:
        for _, process, _ in self._running.values():
            process.terminate()
        for _, _, stack in self._running.values():
            stack.close()
        self._running.clear()


@contextmanager
def open_console(run: Run, environment: Environment) -> Iterator[IO]:
    """The file that takes all that a run prints, errors too; earlier attempts stay in it."""
    path = environment.output / run.folder / CONSOLE
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as console:
        if console.tell():
            console.write(f"{ANOTHER_ATTEMPT}\n".encode())
            console.flush()
        yield console


class Sweep:
    """Brings an executor and the runs of a table together, and says what happens.

    A run that fails does not stop the others; those that depend on it are left out. Frozen features of
    training images are computed by the first run that sees them: others start meanwhile, if there are.
    """

    def __init__(self, runs: Sequence[Run], environment: Environment, executor: Executor) -> None:
        sharing = Sharing.of(runs, environment)
        self.runs, self._images, self._sharing = sharing.runs, sharing.images, sharing.count
        self.environment, self.executor = environment, executor
        self.outcomes: dict[Run, Outcome] = {}
        self._running: set[Run] = set()
        self._shown: dict[Run, str] = {}

    def run(self) -> bool:
        """Execute what is missing; returns whether all runs now have a result.

        Raises:
            Interrupted: Ctrl-C or SIGTERM came, and everything has been stopped.
        """
        if self._sharing:
            self._say(
                f"{self._sharing} runs train on images that others train on as well, and share what is "
                "frozen of them (docs/frozen_features.md; --options STORE.TRAINING False if not)"
            )
        try:
            with noted_interruptions() as interruptions:
                self._run(interruptions)
        finally:
            self.executor.stop()
        failed = [run for run in self.runs if self.outcomes[run].problem]
        if failed:
            self._say(f"{len(failed)} of {len(self.runs)} runs have no result:")
            for run in failed:
                self._say(f"  {run}: {self.outcomes[run].problem.splitlines()[-1].strip()}")
        return not failed

    def _run(self, interruptions: Sequence[int]) -> None:
        waiting = list(self.runs)
        shown_at = time.monotonic()
        while waiting or self._running:
            self._start(waiting)
            collected = self.executor.collect()
            if interruptions:  # Ctrl-C reaches the runs as well: they did not fail
                raise Interrupted(interruptions[0])
            for run, outcome in collected:
                self._running.discard(run)
                self._settle(run, outcome)
            if self._running:
                time.sleep(POLL_SECONDS)
            if time.monotonic() - shown_at > PROGRESS_SECONDS:
                shown_at = time.monotonic()
                self._show_progress()

    def _start(self, waiting: list[Run]) -> None:
        """Hand over every run whose turn it is."""
        for apart in (True, False):
            for run in list(waiting):
                if not self.executor.free():
                    return
                if self._is_next(run) and not (apart and self._sees_what_another_encodes(run)):
                    waiting.remove(run)
                    self._hand_over(run)

    def _needed(self, run: Run) -> list[Run]:
        return [each for each in run.needs if each in self.runs]

    def _is_next(self, run: Run) -> bool:
        return all(each in self.outcomes for each in self._needed(run))

    def _sees_what_another_encodes(self, run: Run) -> bool:
        images = self._images.get(run)
        return images is not None and images in map(self._images.get, self._running)

    def _hand_over(self, run: Run) -> None:
        if failed := [each for each in self._needed(run) if self.outcomes[each].problem]:
            self._settle(run, Outcome(problem=f"left out, since {failed[0]} failed"))
            return
        try:
            accuracy = finished(run, self.environment)
            if accuracy is not None:
                self._settle(run, Outcome(accuracy, kept=True))
            else:
                self.executor.submit(run)
                self._running.add(run)
        except (RunError, OSError) as error:  # of this run's folder alone
            self._settle(run, Outcome(problem=str(error)))

    def _settle(self, run: Run, outcome: Outcome) -> None:
        self.outcomes[run] = outcome
        done = f"[{len(self.outcomes)}/{len(self.runs)}] {run}"
        if outcome.problem:
            self._say(f"{done}: failed: {outcome.problem}")
        else:
            self._say(f"{done}: {'kept' if outcome.kept else 'done'}, {outcome.accuracy:.1f}%")

    def _show_progress(self) -> None:
        for run in self.runs:
            if run in self._running and (line := progress(run, self.environment)):
                if line != self._shown.get(run):
                    self._say(f"    {run}: {line}")
                self._shown[run] = line

    @staticmethod
    def _say(line: str) -> None:
        print(line, flush=True)


def progress(run: Run, environment: Environment) -> str:
    """Where a run stands: epoch, accuracy or loss, time left; "" where it has not begun."""
    path = environment.output / run.folder / CONSOLE
    text = _end_of(path)
    at = last_progress(text)
    if at is None:
        return ""
    accuracies = _ACCURACY.findall(text)
    state = f"accuracy {float(''.join(accuracies[-1])):.1f}%" if accuracies else f"loss {at.loss}"
    return f"epoch {at.epoch}/{at.epochs}, batch {at.batch}/{at.batches}, {state}, {at.left} left"


def _end_of(path: Path, size: int = 20_000) -> str:
    """The end of what the last attempt printed."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace").rpartition(f"{ANOTHER_ATTEMPT}\n")[2]
