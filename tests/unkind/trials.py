"""Kinds of trials, the processes that try them, and the table of what came of it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random

from tabulate import tabulate

from .world import World


class Outcome(Enum):
    """What came of a trial."""

    REFUSED = "refused clearly"
    RIGHT = "right"
    RAW = "raw"
    SILENT = "silent"


BAD = (Outcome.RAW, Outcome.SILENT)


@dataclass(frozen=True)
class Verdict:
    """The outcome of a trial, why, and how many times something was done to the program in it."""

    outcome: Outcome
    why: str = ""
    times: int = 1


@dataclass
class Kind:
    """One kind of trial.

    A subclass says what is done in `set_up` (once a process) and `try_one`, which may write into the
    folder that it is given and nowhere else.
    """

    name: str
    share: float = 1.0
    """Of the time, relative to other kinds."""
    limit: float = 20.0
    """Seconds after which a trial counts as hanging."""

    def set_up(self, world: World, folder: Path) -> None:
        """Read and build what all trials share; the folder is this process's own."""

    def try_one(self, random: Random, folder: Path) -> Verdict:
        """One trial, the same for the same random numbers."""
        raise NotImplementedError


class Worker:
    """A forked process that tries one kind, replaced when a trial hangs or kills it."""

    def __init__(self, kind: Kind, world: World, scratch: Path) -> None:
        self.kind, self.world, self.scratch = kind, world, scratch
        self.process: multiprocessing.Process | None = None
        self.seed: int | None = None

    def start(self, seed: int) -> None:
        """Begin the trial of that seed."""
        if self.process is None:
            self._fork()
        self.seed, self.since = seed, time.monotonic()
        self.connection.send(seed)

    def _fork(self) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(dir=self.scratch))
        # not a daemon: trials start processes of their own
        self.process = context.Process(
            target=_serve, args=(self.kind, self.world, self.folder, theirs)
        )
        self.process.start()
        theirs.close()
        try:
            self.connection.recv()  # set up; not part of a trial's time
        except EOFError:
            raise RuntimeError(f"{self.kind.name} cannot be set up (see above)") from None

    @property
    def trial_folder(self) -> Path:
        """What the current trial may write into."""
        return self.folder / str(self.seed)

    def result(self) -> Verdict | None:
        """The current trial's verdict, or None where it has time left."""
        if self.connection.poll():
            try:
                return self.connection.recv()
            except EOFError:
                self.process.join()
                code, self.process = self.process.exitcode, None
                return Verdict(Outcome.RAW, f"the process died with exit code {code}")
        if time.monotonic() - self.since > self.kind.limit:
            self.stop()
            return Verdict(Outcome.RAW, f"no end after {self.kind.limit:.0f} seconds")
        return None

    def stop(self) -> None:
        """End the process and those that it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.join()
            self.connection.close()
            self.process = None


def _serve(kind: Kind, world: World, folder: Path, connection: Connection) -> None:
    os.setsid()
    # what the process around had set (Ray does) would pass for train.py's own
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    kind.set_up(world, folder)
    connection.send(None)
    while True:
        try:
            seed = connection.recv()
        except EOFError:
            return
        own = folder / str(seed)
        own.mkdir()
        try:
            verdict = kind.try_one(Random(f"{kind.name}-{seed}"), own)
        except Exception:
            verdict = Verdict(Outcome.RAW, f"the tool itself failed:\n{traceback.format_exc()}")
        connection.send(verdict)


def _end_with(parent: int) -> None:
    """End this process and those it started when the tool is gone, even from within a hanging trial."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


@dataclass
class Tally:
    """What came of the trials of one kind."""

    counts: Counter = field(default_factory=Counter)
    times: int = 0
    seconds: float = 0.0
    bad: list[tuple[int, Verdict]] = field(default_factory=list)


def run(
    kinds: Sequence[Kind],
    world: World,
    scratch: Path,
    kept: Path,
    *,
    seed: int,
    seconds: float = float("inf"),
    count: int | None = None,
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> dict[str, Tally]:
    """Try all kinds in turn until the time is over or each was tried ``count`` times.

    Args:
        kinds: what to try.
        world: the intact files.
        scratch: a folder for the files of trials, removed as they turn out well.
        kept: where the files of bad trials go.
        seed: of the first trial; the seeds of all follow from it.
        seconds: how long.
        count: how many (kills count, not runs) of each kind.
        jobs: processes at a time.
        say: told about each bad trial.
    """
    tallies = {kind.name: Tally() for kind in kinds}
    seeds = {kind.name: _seeds(seed, kind) for kind in kinds}
    end = time.monotonic() + seconds
    idle: list[Worker] = []
    busy: list[Worker] = []

    def next_kind() -> Kind | None:
        """The one that is furthest behind its share of the time."""
        left = [kind for kind in kinds if not _is_enough(kind)]
        return min(left, key=_part_of_share, default=None)

    def _is_enough(kind: Kind) -> bool:
        if count is None:
            return False
        tally, now = tallies[kind.name], sum(worker.kind is kind for worker in busy)
        # kills may come too late to kill
        return tally.times + now >= count or sum(tally.counts.values()) + now >= 4 * count

    def _part_of_share(kind: Kind) -> float:
        now = sum(time.monotonic() - w.since for w in busy if w.kind is kind)
        return (tallies[kind.name].seconds + now) / kind.share

    try:
        while True:
            while len(busy) < jobs and time.monotonic() < end and (kind := next_kind()):
                worker = next((w for w in idle if w.kind is kind), None)
                if worker is None:
                    worker = Worker(kind, world, scratch / kind.name)
                else:
                    idle.remove(worker)
                worker.start(next(seeds[kind.name]))
                busy.append(worker)
            if not busy:
                return tallies
            wait([worker.connection for worker in busy], timeout=0.05)
            for worker in list(busy):
                if (verdict := worker.result()) is not None:
                    busy.remove(worker)
                    idle.append(worker)
                    _note(tallies[worker.kind.name], worker, verdict, kept, say)
    finally:
        for worker in (*idle, *busy):
            worker.stop()


def _seeds(seed: int, kind: Kind) -> Iterator[int]:
    # the first is the given one, so that a single trial is repeated by its seed
    yield seed
    random = Random(f"{seed}-{kind.name}")
    while True:
        yield random.randrange(2**31)


def _note(
    tally: Tally, worker: Worker, verdict: Verdict, kept: Path, say: Callable[[str], None]
) -> None:
    tally.counts[verdict.outcome] += 1
    tally.times += verdict.times
    tally.seconds += time.monotonic() - worker.since
    folder = worker.trial_folder
    if verdict.outcome not in BAD:
        shutil.rmtree(folder, ignore_errors=True)
        return
    tally.bad.append((worker.seed, verdict))
    place = kept / f"{worker.kind.name}-{worker.seed}"
    shutil.rmtree(place, ignore_errors=True)
    kept.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        shutil.move(folder, place)
    say(
        f"{verdict.outcome.value}: {worker.kind.name}, seed {worker.seed}: {verdict.why}\n"
        f"  kept in {place}; again: python -m tests.unkind --repeat {worker.seed} {worker.kind.name}"
    )


def table(tallies: Mapping[str, Tally]) -> str:
    """Tried, and each outcome, by kind."""
    rows = [
        (name, tally.times, *(tally.counts[outcome] for outcome in Outcome))
        for name, tally in tallies.items()
    ]
    rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
    return tabulate(rows, ("kind", "tried", *(outcome.value for outcome in Outcome)))
