"""The store of features: what it gives is right, whatever happens to its files."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import filelock
import pytest
import torch

from prompting import feature_rows, feature_store, features
from prompting.feature_rows import KEYS, ROWS, row_key
from prompting.feature_store import FeatureStore
from tests.unkind.mutations import OF_BYTES

WIDTH, COUNT = 24, 24
KINDS = (torch.float32, torch.float16, torch.bfloat16)


def truth(numbers: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The feature of every number."""
    return torch.sin(torch.tensor(numbers)[:, None] * 7.1 + torch.arange(WIDTH)).to(dtype)


class Asked:
    """Someone who asks for the features of numbers, and counts those that were computed."""

    def __init__(self, store: FeatureStore, about: object = 1, name: str = "all", **kind) -> None:
        self.store = store
        self.rows = store.rows({"of": about}, name, WIDTH, **kind)
        self.computed: list[int] = []

    def __call__(self, numbers: Sequence[int]) -> torch.Tensor:
        def compute(lacking: list[int]) -> torch.Tensor:
            self.computed += [numbers[place] for place in lacking]
            return truth([numbers[place] for place in lacking], self.rows.dtype)

        found = self.store.fetch(self.rows, [row_key(n) for n in numbers], compute)
        assert torch.equal(found, truth(numbers, self.rows.dtype))
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def full(folder: Path) -> Path:
    """A store that holds all features; the folder of their files."""
    asked = Asked(FeatureStore(folder))
    for start in range(0, COUNT, 8):
        asked(range(start, start + 8))
    return asked.rows.folder


# -- kept, shared and small ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", KINDS)
def test_what_was_computed_is_not_computed_again(dtype: torch.dtype, folder: Path) -> None:
    first = Asked(FeatureStore(folder), dtype=dtype)
    first(range(5))
    again = Asked(FeatureStore(folder), dtype=dtype)
    again([7, 3, 0, 8, 4])
    assert (first.computed, again.computed) == ([0, 1, 2, 3, 4], [7, 8])


def test_what_is_added_is_seen_by_those_that_have_looked_before(folder: Path) -> None:
    early, late = Asked(FeatureStore(folder)), Asked(FeatureStore(folder))
    early([0])
    late([1])
    early([1])
    assert early.computed == [0]


def test_what_was_there_first_stays(folder: Path) -> None:
    """So that whoever computes at the same time gets, and goes on with, the same digits."""
    store = FeatureStore(folder)
    rows, key = store.rows({}, "all", WIDTH), [row_key(1)]
    other = store.rows({}, "all", WIDTH)
    first = store.keep(rows, key, truth([1]))
    assert torch.equal(store.keep(other, key, truth([1]) + 1e-6), first)
    twice = store.keep(rows, [row_key(2)] * 2, truth([2, 3]))
    assert torch.equal(twice, truth([2, 2]))


@pytest.mark.parametrize("changed", ["about", "name", "dtype"])
def test_other_circumstances_are_other_features(changed: str, folder: Path) -> None:
    Asked(FeatureStore(folder))([1])
    other = {"about": {"backbone": "other"}, "name": "epoch-2", "dtype": torch.float16}[changed]
    asked = Asked(FeatureStore(folder), **{changed: other})
    asked([1])
    assert asked.computed == [1]


def test_a_feature_of_512_numbers_takes_at_most_2100_bytes(folder: Path) -> None:
    rows = FeatureStore(folder).rows({}, "all", 512)
    for batch in range(25):
        rows.put([row_key(batch, place) for place in range(4)], torch.randn(4, 512))
    assert sum(path.stat().st_size for path in rows.folder.iterdir()) <= 100 * 2100


# -- unkind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", sorted(set(OF_BYTES), key=lambda change: change.__name__))
@pytest.mark.parametrize("file", [f"all{KEYS}", f"all{ROWS}", feature_rows.ABOUT_FILE])
def test_a_damaged_file_never_gives_a_wrong_feature(change, file: str, full: Path) -> None:
    whole = {path.name: path.read_bytes() for path in full.iterdir()}
    for seed in range(4):
        for name, content in whole.items():
            (full / name).write_bytes(content)
        (full / file).write_bytes(change(Random(seed), whole[file]))
        Asked(FeatureStore(full.parent))(range(COUNT))
        mended = Asked(FeatureStore(full.parent))
        mended(range(COUNT))
        assert not mended.computed


def test_a_flipped_bit_is_said_and_costs_one_feature(full: Path, capsys) -> None:
    content = bytearray((full / f"all{ROWS}").read_bytes())
    content[len(content) // 2] ^= 4
    (full / f"all{ROWS}").write_bytes(content)
    asked = Asked(FeatureStore(full.parent))
    asked(range(COUNT))
    assert asked.computed == [COUNT // 2]
    assert "1 features are damaged, and computed again" in capsys.readouterr().out


def test_files_of_other_features_are_not_taken(full: Path) -> None:
    store = FeatureStore(full.parent)
    for circumstances in ({"about": 2}, {"name": "epoch-2"}, {"about": 2, "dtype": torch.float16}):
        other = Asked(store, **circumstances)
        other([0])
        for suffix in (KEYS, ROWS):
            shutil.copy(full / f"all{suffix}", other.rows.folder / f"{other.rows.name}{suffix}")
        asked = Asked(FeatureStore(full.parent), **circumstances)
        asked(range(COUNT))
        assert len(asked.computed) == COUNT


def test_a_file_that_loses_its_end_while_it_is_read(full: Path) -> None:
    asked = Asked(FeatureStore(full.parent))
    asked(range(COUNT))
    os.truncate(full / f"all{ROWS}", 1000)
    asked(range(COUNT))
    os.truncate(full / f"all{KEYS}", 50)
    asked(range(COUNT + 1))
    assert Asked(FeatureStore(full.parent))(range(COUNT)) is not None


def test_a_folder_that_is_removed_while_it_is_used(full: Path) -> None:
    asked = Asked(FeatureStore(full.parent))
    asked([1])
    feature_store.remove(full)
    assert not full.exists()
    asked(range(COUNT))
    assert len(asked.computed) == COUNT
    assert Asked(FeatureStore(full.parent))(range(COUNT)) is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("room", [0, 10, 300, 1000, 2000])
def test_a_full_disk_stops_nothing_and_spoils_nothing(room: int, folder: Path) -> None:
    import resource

    Asked(FeatureStore(folder))([0])
    pid = os.fork()
    if pid == 0:  # files may not grow: what is written is cut anywhere
        status = 1
        try:
            sys.stdout = io.StringIO()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            asked = Asked(FeatureStore(folder))
            for start in range(0, COUNT, 8):
                asked(range(start, start + 8))
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    after = Asked(FeatureStore(folder))
    after(range(COUNT))
    assert len(after.computed) >= COUNT - 1 - room // (4 * WIDTH)


def test_a_store_that_cannot_be_written_is_gone_without_and_said_once(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    folder.write_text("a file where the folder should be")
    asked = Asked(FeatureStore(folder))
    asked([1])
    asked([2])
    (said,) = capsys.readouterr().out.splitlines()
    assert "Features are not kept from here on: " in said
    assert str(folder) in said


def test_the_last_gigabyte_of_the_disk_is_left_free(folder: Path, monkeypatch, capsys) -> None:
    usage = shutil.disk_usage(folder.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**9 - 1))
    Asked(FeatureStore(folder))(range(COUNT))
    assert "has less than 1 GB left" in capsys.readouterr().out
    assert not list(folder.rglob("*"))


def test_a_writer_that_does_not_finish_stops_nobody(
    full: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(feature_rows, "PATIENCE", 0.05)
    with filelock.FileLock(full / feature_rows.LOCK_FILE):
        Asked(FeatureStore(full.parent))(range(COUNT + 3))
    assert "not kept" in capsys.readouterr().out


def add_for_ever(folder: Path, seed: int) -> None:
    random, asked = Random(seed), Asked(FeatureStore(folder))
    while True:
        asked([random.randrange(2000) for _ in range(8)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_writers_that_are_killed_at_any_moment(folder: Path) -> None:
    def written() -> int:
        return sum(path.stat().st_size for path in folder.glob(f"*/*{KEYS}"))

    random = Random(0)
    for trial in range(5):
        before, pids = written(), []
        for writer in range(2):
            pid = os.fork()
            if pid == 0:
                try:
                    add_for_ever(folder, 10 * trial + writer)
                finally:
                    os._exit(1)  # a wrong feature
            pids.append(pid)
        deadline = time.monotonic() + 20
        while written() == before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.05))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    there = written() // feature_rows.KEY_BYTES
    asked = Asked(FeatureStore(folder))
    asked(range(2000))
    assert len(asked.computed) == 2000 - there  # nothing that counts was damaged
    assert there
    (keys,) = folder.glob(f"*/*{KEYS}")
    content = keys.read_bytes()
    each = [content[place : place + 16] for place in range(0, len(content), 16)]
    assert len(each) == len(set(each)) == 2000


# -- its bound ----------------------------------------------------------------------------------------


def test_the_least_recently_used_leave_first(folder: Path) -> None:
    size = 20 * (WIDTH * 4 + 24)
    asked = [Asked(FeatureStore(folder), about) for about in range(3)]
    for each in asked:
        each(range(20))
    for age, each in enumerate(asked):
        os.utime(each.rows.folder / feature_rows.ABOUT_FILE, (1e9 - age, 1e9 - age))
    bounded = FeatureStore(folder, limit=3.5 * size / 1e9)
    Asked(bounded, 2)([0])  # used again
    Asked(bounded, 3)(range(20))
    there = {json.dumps(entry.about["of"]) for entry in FeatureStore(folder).entries()}
    assert there == {"0", "2", "3"}


def test_a_store_at_its_bound_takes_nothing_more_and_says_so(folder: Path, capsys) -> None:
    asked = Asked(FeatureStore(folder, limit=2000 / 1e9))
    asked([1])
    asked(range(COUNT))
    assert "is at its bound of 2e-06 GB" in capsys.readouterr().out
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 2000


def test_nothing_but_the_stores_own_files_is_removed(full: Path) -> None:
    (full / "diary.txt").write_text("dear")
    (full.parent / "photos").mkdir()
    (full.parent / "photos" / f"all{KEYS}").write_text("mine")
    store = FeatureStore(full.parent, limit=0)
    Asked(store, about=2)([1])
    assert not (full / f"all{ROWS}").exists()
    assert (full / "diary.txt").read_text() == "dear"
    assert (full.parent / "photos" / f"all{KEYS}").read_text() == "mine"


def test_the_users_cache_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMPT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert FeatureStore().folder == Path("/caches/prompt-learning/features")


# -- the command --------------------------------------------------------------------------------------


def test_the_command_lists_and_clears(full: Path, capsys: pytest.CaptureFixture) -> None:
    Asked(FeatureStore(full.parent), about="other")([1])
    words = ["--folder", str(full.parent)]
    assert features.main(words) == 0
    shown = capsys.readouterr().out
    assert full.name[:8] in shown
    assert f" {COUNT} " in shown
    assert "2 folders" in shown
    assert features.main([*words, "--clear", "nothing"]) == 2
    assert "has no folder nothing" in capsys.readouterr().err
    assert features.main([*words, "--clear", full.name[:8]]) == 0
    assert len(FeatureStore(full.parent).entries()) == 1
    assert features.main([*words, "--clear"]) == 0
    assert not FeatureStore(full.parent).entries()
    assert features.main(words) == 0
    assert "0 folders, 0.0 MB" in capsys.readouterr().out
