"""The unkind tool finds what is planted, and finds nothing in the project."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
import torch

from tests.unkind import __main__ as command
from tests.unkind import malice
from tests.unkind.faults import Faults
from tests.unkind.judging import is_clear
from tests.unkind.kills import Disk, Kills, RunTrial, Signals
from tests.unkind.kinds import KINDS
from tests.unkind.mutations import OF_BYTES, of_bytes, of_tree
from tests.unkind.readers import Reader, in_a_fork
from tests.unkind.result_files import Logs, Records, Results
from tests.unkind.tensor_files import Checkpoint, Pickles
from tests.unkind.text_files import Csv, Split
from tests.unkind.trials import Kind, Outcome, Tally, Verdict, run
from tests.unkind.world import Forked, World, same

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the tool needs os.fork")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("unkind") / "world").make()


def try_kind(kind: Kind, world: World, folder: Path, count: int, seed: int = 1) -> Tally:
    tallies = run(
        *([kind], world, folder / "trials", folder / "kept"), seed=seed, count=count, say=print
    )
    return tallies[kind.name]


# -- the whole --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_nothing_is_raw_or_silent(kind: str, world: World, tmp_path: Path) -> None:
    whole_runs = isinstance(KINDS[kind], (Kills, Disk, Signals))
    tally = try_kind(KINDS[kind], world, tmp_path, count=3 if whole_runs else 15)
    assert not tally.bad
    assert tally.times >= 3


# -- what is planted is found -------------------------------------------------------------------------


def killed_late(self: Kills, trial: RunTrial, random: Random) -> tuple[int, str, bool]:
    last = self.world.last_operation("CoOp", "replace", "resume.pth")
    return trial.fail_at(last, "killed after")


def test_a_restart_that_forgets_something(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.unbroken("CoOp")
    monkeypatch.setattr("tests.unkind.kills.learning_methods", lambda: ["CoOp"])
    monkeypatch.setattr("tests.unkind.kills.TESTS_BETWEEN", {})
    monkeypatch.setattr(Kills, "break_once", killed_late)
    monkeypatch.setattr("trainers.curves.Curves.resume", lambda *_: None)
    tally = try_kind(Kills(), world, tmp_path, count=1)
    assert any("curves differ" in verdict.why for _, verdict in tally.bad)


def test_a_reader_that_executes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(self: Reader, path: Path) -> object:
        return torch.load(path, weights_only=False)

    for reader in ("Checkpoint", "Resume", "Backbone", "_Toolbox"):
        monkeypatch.setattr(f"tests.unkind.tensor_files.{reader}.read", careless)
    tally = try_kind(Pickles(), world, tmp_path, count=6)
    executed = [verdict for _, verdict in tally.bad if "it executed" in verdict.why]
    assert len(executed) >= 3
    assert {verdict.outcome for verdict in executed} == {Outcome.SILENT}


def test_a_reader_that_takes_whatever_comes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(self: Reader, path: Path) -> object:
        state = torch.load(path.with_name("model.pth.tar-3"), weights_only=True)["state_dict"]
        return {"learned": state, "epochs": 3}

    monkeypatch.setattr(Checkpoint, "read", careless)
    tally = try_kind(Checkpoint(), world, tmp_path, count=30)
    whys = " ".join(verdict.why for _, verdict in tally.bad)
    assert "nan" in whys or "infinite" in whys
    assert tally.counts[Outcome.RAW]  # torch's own exceptions


@pytest.mark.parametrize("kind", [Csv, Split])
def test_a_reader_that_drops_a_row(
    kind: type[Reader], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = kind.read

    def careless(self: Reader, path: Path) -> dict:
        lists = read(self, path)
        return {**lists, "test": lists["test"][1:]} if path.name != "intact.csv" else lists

    monkeypatch.setattr(kind, "read", careless)
    tally = try_kind(kind(), world, tmp_path, count=20)
    assert tally.counts[Outcome.SILENT]
    assert not tally.counts[Outcome.RIGHT]


@pytest.mark.parametrize(
    ("kind", "function", "careless"),
    [
        (Results, "protocols.reporting.results.accuracy_of", lambda *_: 50.0),
        (Records, "trainers.run_folder.differing_keys", lambda *_: []),
        (Logs, "parse_test_res.read_value", lambda *_: 50.0),
    ],
)
def test_readers_that_look_at_nothing(
    kind: type[Reader], function: str, careless, world: World, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(function, careless)
    tally = try_kind(kind(), world, tmp_path, count=40)
    assert tally.counts[Outcome.SILENT]


def test_the_command_ends_where_a_process_may_have_threads(tmp_path: Path) -> None:
    """A fork of a process that has started a pool of threads hangs."""
    given = ("--only", "records", "checkpoint", "--count", "1", "--kept", str(tmp_path))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.unkind", *given],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        check=True,
        timeout=120,
    )


def test_a_run_that_is_killed_before_it_can_say_anything(tmp_path: Path) -> None:
    def vanish() -> None:
        (tmp_path / "stderr.txt").unlink()
        os.kill(os.getpid(), signal.SIGKILL)

    assert Forked([], tmp_path, vanish).wait() == (-signal.SIGKILL, "")


@dataclass
class _Odd(Kind):
    name: str = "odd"
    limit: float = 0.5

    def try_one(self, random: Random, folder: Path) -> Verdict:
        (folder / "note").write_text("kept")
        how = random.choice(("hangs", "dies", "raises", "is fine"))
        if how == "hangs":
            time.sleep(60)
        elif how == "dies":
            os._exit(3)
        elif how == "raises":
            raise RuntimeError("planted")
        return Verdict(Outcome.RIGHT)


def test_hanging_and_dying_are_raw_and_the_next_trial_goes_on(world: World, tmp_path: Path) -> None:
    tally = try_kind(_Odd(), world, tmp_path, count=12)
    whys = " ".join(verdict.why for _, verdict in tally.bad)
    assert "no end after" in whys
    assert "exit code 3" in whys
    assert "planted" in whys
    assert tally.counts[Outcome.RIGHT]
    assert sum(tally.counts.values()) == 12
    seed = tally.bad[0][0]
    assert (tmp_path / "kept" / f"odd-{seed}" / "note").read_text() == "kept"


@dataclass
class _Handlers(Kind):
    name: str = "handlers"

    def try_one(self, random: Random, folder: Path) -> Verdict:
        fresh = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        return Verdict(Outcome.RIGHT if fresh else Outcome.RAW)


def test_a_handler_of_the_process_around_does_not_reach_a_trial(
    world: World, tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        assert not try_kind(_Handlers(), world, tmp_path, count=1).bad
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_command_repeats_a_trial_and_returns_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(KINDS, "odd", _Odd())
    words = ["--only", "odd", "--kept", str(tmp_path)]
    assert command.main([*words, "--count", "8", "--seed", "1"]) == 1
    bad = sorted(path.name for path in tmp_path.iterdir())
    assert "no end" in capsys.readouterr().out
    seed = bad[0].removeprefix("odd-")
    assert command.main(["--repeat", seed, "odd", "--kept", str(tmp_path / "again")]) == 1
    assert [path.name for path in (tmp_path / "again").iterdir()] == bad[:1]
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1].split() == ["all", "1", "0", "0", "1", "0"]


# -- its parts ----------------------------------------------------------------------------------------


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    path = tmp_path / "executed"
    malice.write_helpers(path)
    return path


@pytest.mark.parametrize("name", list(malice.payloads(Path("/executed"))))
def test_every_payload_executes_where_it_is_unpickled(name: str, marker: Path) -> None:
    content = malice.dumps({"payload": malice.payloads(marker)[name]})

    def unpickle() -> None:
        try:
            pickle.loads(content)
        except Exception as error:
            print(error)

    in_a_fork(unpickle)
    last = time.monotonic() + 5  # some start a process and do not wait for it
    while not malice.executed(marker) and time.monotonic() < last:
        time.sleep(0.01)
    assert malice.executed(marker)
    malice.clear(marker)
    assert not malice.executed(marker)


@pytest.mark.parametrize("name", list(malice.CONTAINERS))
def test_every_container_executes_where_torch_may(name: str, marker: Path, tmp_path: Path) -> None:
    content = {"state_dict": {}, "optimizer": malice.payloads(marker)["os:mkdir"]}
    (tmp_path / "file").write_bytes(malice.CONTAINERS[name](content, marker))

    def load() -> None:
        try:
            torch.load(tmp_path / "file", weights_only=False)
        except Exception as error:
            print(error)

    in_a_fork(load)
    assert malice.executed(marker)


def test_a_full_disk_leaves_half_and_other_folders_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, other = tmp_path / "full", tmp_path / "other"
    full.mkdir()
    other.mkdir()

    def write() -> list[str]:
        Faults(full, 2, "disk full").install()
        (other / "a").write_text("0123456789")
        (full / "a").write_text("0123456789")
        try:
            (full / "b").write_text("0123456789")
        except OSError as error:
            return [str(error), *(p.read_text() for p in (other / "a", full / "a", full / "b"))]
        return []

    message, *texts = in_a_fork(write)
    assert "No space left" in message
    assert texts == ["0123456789", "0123456789", "01234"]


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_process_is_killed_at_the_operation(at: int, tmp_path: Path) -> None:
    def write() -> None:
        Faults(tmp_path, at, "killed before", tmp_path.parent / f"note{at}").install()
        for name in ("a", "b"):
            (tmp_path / name).write_text("x")
        os.replace(tmp_path / "a", tmp_path / "c")

    assert in_a_fork(write).why == "the process died with -9"
    expected = {1: set(), 2: {"a"}, 3: {"a", "b"}}[at]
    assert {path.name for path in tmp_path.iterdir()} == expected


def test_the_same_seed_damages_in_the_same_way() -> None:
    content = bytes(range(256)) * 20
    for seed in range(40):
        assert of_bytes(Random(seed), content) == of_bytes(Random(seed), content)
    tree = {"a": [1, 2.5, "x"], "b": {"c": None, "d": True}}
    changed = [of_tree(Random(seed), tree) for seed in range(60)]
    assert tree == {"a": [1, 2.5, "x"], "b": {"c": None, "d": True}}
    assert len({repr(each) for each in changed}) > 20


@pytest.mark.parametrize("change", sorted(set(OF_BYTES), key=lambda change: change.__name__))
def test_changes_of_bytes_work_on_any_size(change) -> None:
    for size in (1, 2, 5, 100, 3000):
        content = bytes(Random(size).randbytes(size))
        changed = {change(Random(seed), content) for seed in range(9)}
        assert size == 1 or changed - {content}


def test_what_is_the_same() -> None:
    nan = float("nan")
    assert same(
        {"a": [torch.tensor([nan, 0.0])], "b": nan}, {"a": [torch.tensor([nan, 0.0])], "b": nan}
    )
    assert not same(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same(torch.ones(2), torch.ones(2, dtype=torch.float64))
    assert not same({"a": 1}, {"a": 1, "b": 2})
    assert not same(1, 1.0)


def test_what_is_a_clear_message() -> None:
    assert is_clear("a warning\nerror: x.csv, line 3: no label\n")
    assert not is_clear("x.csv, line 3: no label\n")
    assert not is_clear("")
    assert not is_clear("error: one\ntwo\nthree\nfour\n")
    assert not is_clear("Traceback (most recent call last):\n  x\nerror: x\n")
