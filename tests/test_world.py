"""The built-in world: the same bytes however it is drawn, and read by the code that reads any set."""

from __future__ import annotations

import errno
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset

import datasets
from datasets import files
from datasets.builtin import BuiltinDataset
from datasets.world import drawing
from datasets.world.drawing import BEGUN, IMAGES, MARK, SPLIT, draw_set
from datasets.world.sets import SETS

SMALL = replace(SETS["coloured"], classes=SETS["coloured"].classes[:4], train=3, val=1, test=2)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_set(SMALL, folder, processes=1)
    return folder


@pytest.fixture
def failing(monkeypatch):
    """Make every write fail with an error number."""

    def install(number: int) -> None:
        def fail(content, path):
            raise OSError(number, "no", str(path))

        for module in (drawing, files):
            monkeypatch.setattr(module, "write_bytes", fail)

    return install


def test_another_number_of_processes_gives_the_same_bytes(drawn, tmp_path):
    draw_set(SMALL, tmp_path, processes=2)
    assert contents(tmp_path) == contents(drawn)


def test_layout_is_the_published_one(drawn):
    split = json.loads((drawn / SPLIT).read_text())
    assert {part: len(items) for part, items in split.items()} == {"train": 12, "val": 4, "test": 8}
    for path, label, name in split["train"]:
        assert SMALL.classes[label] == name
        assert (drawn / IMAGES / path).is_file()
    assert len({path for items in split.values() for path, _, _ in items}) == 24


def test_no_two_pictures_are_the_same(drawn):
    pictures = [data for name, data in contents(drawn).items() if name.endswith(".png")]
    assert len(set(pictures)) == len(pictures) == 24


def test_interrupted_drawing_is_completed(drawn, tmp_path):
    calls = []

    def stop(random, name):
        calls.append(name)
        if len(calls) > 10:
            raise KeyboardInterrupt
        return SMALL.paint(random, name)

    with pytest.raises(KeyboardInterrupt):
        draw_set(replace(SMALL, paint=stop), tmp_path, processes=1)
    assert not (tmp_path / MARK).exists()
    assert len(list((tmp_path / IMAGES).rglob("*.png"))) == 10
    draw_set(SMALL, tmp_path, processes=1)
    assert contents(tmp_path) == contents(drawn)


def test_a_lost_picture_is_drawn_again_and_the_others_are_left(drawn, tmp_path):
    draw_set(SMALL, tmp_path, processes=1)
    lost, *others = sorted((tmp_path / IMAGES).rglob("*.png"))
    before = [path.stat().st_mtime_ns for path in others]
    lost.unlink()
    draw_set(SMALL, tmp_path, processes=1)
    assert contents(tmp_path) == contents(drawn)
    assert [path.stat().st_mtime_ns for path in others] == before


def test_pictures_of_another_world_are_drawn_anew(drawn, tmp_path):
    draw_set(SMALL, tmp_path, processes=1)
    for path in (tmp_path / IMAGES).rglob("*.png"):
        path.write_bytes(b"another world's")
    (tmp_path / BEGUN).write_text("0")
    (tmp_path / MARK).write_text(json.dumps({"world": 0}))
    draw_set(SMALL, tmp_path, processes=1)
    assert contents(tmp_path) == contents(drawn)


def test_what_a_killed_drawing_left_is_removed(drawn, tmp_path):
    (tmp_path / IMAGES / "any").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / IMAGES / "any"):
        (folder / f".000.png.{'0' * 32}").touch()
    draw_set(SMALL, tmp_path, processes=1)
    assert contents(tmp_path) == contents(drawn)


def test_drawing_at_the_same_time_does_no_harm(drawn, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: draw_set(SMALL, tmp_path, processes=1), range(3)))
    assert contents(tmp_path) == contents(drawn)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_missing_set_under_a_read_only_root_says_what_to_do(tmp_path, failing, number):
    failing(number)
    with pytest.raises(PermissionError, match=r"'coloured'.*cannot be written.*--root"):
        draw_set(SMALL, tmp_path, processes=1)


def test_full_disk_is_not_taken_for_a_read_only_root(tmp_path, failing):
    failing(errno.ENOSPC)
    with pytest.raises(OSError, match="no") as caught:
        draw_set(SMALL, tmp_path, processes=1)
    assert caught.value.errno == errno.ENOSPC


def test_complete_set_is_read_from_a_read_only_root(drawn, failing):
    failing(errno.EROFS)
    draw_set(SMALL, drawn, processes=1)


def test_world_is_as_large_as_promised():
    assert len(SETS["things"].classes) >= 40
    shifted = [each for key, each in SETS.items() if key.startswith("things_")]
    assert len(shifted) >= 2
    assert all(each.classes == SETS["things"].classes and not each.train for each in shifted)
    assert all(len(set(each.classes)) == len(each.classes) for each in SETS.values())
    assert all(each.train >= 16 and each.val >= 4 for each in SETS.values() if each.train)


@pytest.mark.parametrize("key", SETS)
def test_every_class_can_be_drawn(key):
    for label in range(len(SETS[key].classes)):
        picture = np.asarray(SETS[key].draw(label, 0))
        assert picture.shape == (64, 64, 3)
        assert picture.std() > 1


def configuration(name: str, root: Path, **values: object):
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    cfg.VERBOSE, cfg.SEED, cfg.DATASET.NAME, cfg.DATASET.ROOT = False, 1, name, str(root)
    for key, value in values.items():
        cfg.DATASET[key] = value
    return cfg


@pytest.fixture
def small_world(monkeypatch):
    for key, each in SETS.items():
        sizes = {"train": 5, "val": 4} if each.train else {}
        monkeypatch.setitem(SETS, key, replace(each, classes=each.classes[:5], test=2, **sizes))


@pytest.mark.parametrize("dataset", BuiltinDataset.__subclasses__())
def test_registered_sets_are_drawn_and_read(dataset, tmp_path, small_world):
    name = dataset.__name__
    classes = SETS[dataset.key].classes
    values = {"NUM_SHOTS": 3, "SUBSAMPLE_CLASSES": "new"}
    base = build_dataset(configuration(name, tmp_path, NUM_SHOTS=3, SUBSAMPLE_CLASSES="base"))
    new = build_dataset(configuration(name, tmp_path, **values))
    assert base.classnames == list(classes[:3])
    assert new.classnames == list(classes[3:])
    assert len(base.test) == 6
    assert len(base.train_x) == (9 if SETS[dataset.key].train else 6)


@pytest.mark.parametrize("dataset", BuiltinDataset.__subclasses__())
def test_every_set_has_its_configuration(dataset):
    folder = Path(__file__).parents[1] / "configs" / "datasets"
    written = [path.read_text() for path in folder.glob("builtin_*.yaml")]
    assert sum(f'NAME: "{dataset.__name__}"\n' in text for text in written) == 1


def test_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "root").write_text("")
    with pytest.raises(NotADirectoryError, match="not a folder"):
        build_dataset(configuration("BuiltinThings", tmp_path / "root"))


def test_no_root_is_refused():
    with pytest.raises(FileNotFoundError, match="--root"):
        build_dataset(configuration("BuiltinThings", ""))
