"""Drawing shots and halving classes, against the published answers, and bad splits."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, Datum
from hypothesis import given
from hypothesis import strategies as st

import datasets
from datasets.draws import draw_shots, draw_shots_of_linear_probe
from datasets.few_shot import halve_classes
from datasets.splits import Splits, check_classes, find_missing, read_split

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"
GOLDEN = json.loads((REPOSITORY / "tests/fixtures/few_shot_draws.json").read_text())
REAL = SHARED / "golden/real_split_draws.json"
REAL_NAMES = (
    "Caltech101", "DescribableTextures", "EuroSAT", "OxfordFlowers", "OxfordPets",
    "StanfordCars", "UCF101",
)  # fmt: skip


def make_items(counts, prefix=""):
    return [
        Datum(impath=f"{prefix}{label:02d}_{i:03d}.jpg", label=label, classname=f"c{label}")
        for label, count in enumerate(counts)
        for i in range(count)
    ]


@pytest.mark.parametrize("key", sorted(GOLDEN["draws"]))
def test_draw_equals_the_published_one(key):
    seed, shots = (int(part.lstrip("sedhot")) for part in key.split("_"))
    train, val = draw_shots(
        make_items(GOLDEN["train_images_per_class"]),
        make_items(GOLDEN["val_images_per_class"]),
        shots,
        seed,
        "Test",
    )
    assert [item.impath for item in train] == GOLDEN["draws"][key]["train"]
    assert [item.impath for item in val] == GOLDEN["draws"][key]["val"]


def test_draw_leaves_the_random_state_alone_and_depends_on_the_seed_only():
    items = make_items([20, 20])
    random.seed(99)
    before = random.getstate()
    first = draw_shots(items, items, 4, 1, "Test")
    assert random.getstate() == before
    random.random()
    assert [i.impath for i in draw_shots(items, items, 4, 1, "Test")[0]] == [
        i.impath for i in first[0]
    ]


def test_negative_seed_draws_from_the_outer_random_state():
    items = make_items([20, 20])
    random.seed(1)
    outer = draw_shots(items, items, 4, -1, "Test")
    seeded = draw_shots(items, items, 4, 1, "Test")
    assert [i.impath for i in outer[0]] == [i.impath for i in seeded[0]]
    assert random.getstate() != random.Random(1).getstate()


def test_the_linear_probes_draw_is_that_of_its_published_loops():
    train, val = make_items([9, 20, 5], "train"), make_items([7, 3, 6], "val")
    train = train[::-1]  # labels are gone through in ascending order, not in that of appearance
    before = np.random.get_state()[1].tolist()
    drawn = draw_shots_of_linear_probe(train, val, 5, 2, "Test")
    assert np.random.get_state()[1].tolist() == before
    np.random.seed(2)
    for items, count, found in ((train, 5, drawn[0]), (val, 4, drawn[1])):
        labels, expected = np.array([item.label for item in items]), []
        for label in range(3):
            places = np.where(labels == label)[0]
            if len(places) >= count:
                places = np.random.choice(places, size=count, replace=False)
            expected += [items[place].impath for place in places]
        assert [item.impath for item in found] == expected
    np.random.seed(2)
    outer = draw_shots_of_linear_probe(train, val, 5, -1, "Test")
    assert [i.impath for i in outer[0]] == [i.impath for i in drawn[0]]
    assert draw_shots_of_linear_probe(train, None, 5, 2, "Test")[1] is None


def test_class_with_fewer_images_than_shots_is_used_as_it_is_and_said_once(capsys):
    train, _ = draw_shots(make_items([20, 3, 20]), None, 8, 1, "Pictures")
    assert Counter(item.label for item in train) == {0: 8, 1: 3, 2: 8}
    out = capsys.readouterr().out
    assert out.count("fewer than 8") == 1
    assert "c1 (3)" in out


@given(counts=st.lists(st.integers(1, 12), min_size=2, max_size=9), seed=st.integers(0, 50))
def test_halves_are_a_partition_and_the_draw_precedes_them(counts, seed):
    train, _ = draw_shots(make_items(counts), None, 4, seed, "Test")
    (base,), (new,) = halve_classes("base", train), halve_classes("new", train)
    assert [i.impath for i in base + new] == [i.impath for i in train]
    half = -(-len(counts) // 2)
    assert sorted({i.label for i in base}) == list(range(half))
    assert sorted({i.label for i in new}) == list(range(len(counts) - half))
    assert all(i.classname == f"c{i.label + half}" for i in new)


def test_one_class_has_no_new_half():
    with pytest.raises(ValueError, match="cannot be halved"):
        halve_classes("new", make_items([5]))


def test_unknown_subset_is_refused():
    with pytest.raises(ValueError, match="all, base, new"):
        halve_classes("novel", make_items([5, 5]))


@pytest.fixture(scope="module")
def real_draws():
    if not REAL.is_file():
        pytest.skip(f"the real splits' answers are not in {REAL}")
    return json.loads(REAL.read_text())["datasets"]


def digest(items, image_dir):
    lines = (f"{os.path.relpath(i.impath, image_dir)}\t{i.label}\t{i.classname}" for i in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", REAL_NAMES)
def test_real_splits_are_drawn_and_halved_as_published(name, real_draws):
    published = DATASET_REGISTRY.get(name)
    split = read_split(str(SHARED / "splits" / published.split_file), "images")
    check_classes(split, name)
    counts = tuple(map(len, split))
    assert counts == (published.recipe.train, published.recipe.val, published.recipe.test)
    answers = {key: value for key, value in real_draws[name].items() if "_seed" in key}
    assert len(answers) >= 9
    for key, answer in answers.items():
        subset, seed = key.split("_seed")
        drawn = draw_shots(split.train, split.val, 16, int(seed), name)
        train, val, test = halve_classes(subset, *drawn, split.test)
        assert len({i.label for i in train}) == answer["classes"]
        for part, items in (("train", train), ("val", val), ("test", test)):
            assert len(items) == answer[part]
            assert digest(items, "images") == answer[f"{part}_digest"], (key, part)
        names = {i.label: i.classname for i in train}
        assert names[0] == answer["first_class"]
        assert names[max(names)] == answer["last_class"]


def test_caltech101_from_the_registry(real_draws, tmp_path):
    root = SHARED / "data"
    if not (root / "caltech-101").is_dir():
        pytest.skip(f"no Caltech101 photographs in {root}")
    for subset in ("all", "base", "new"):
        cfg = make_cfg(root, "Caltech101", shots=16, seed=2, subset=subset, output=tmp_path)
        dataset = DATASET_REGISTRY.get("Caltech101")(cfg)
        answer = real_draws["Caltech101"][f"{subset}_seed2"]
        assert dataset.num_classes == answer["classes"]
        assert digest(dataset.train_x, dataset.image_dir) == answer["train_digest"]
        assert digest(dataset.val, dataset.image_dir) == answer["val_digest"]
        assert digest(dataset.test, dataset.image_dir) == answer["test_digest"]
        kept = read_json(tmp_path / f"few_shot_Caltech101_{subset}_16shots_seed2.json")
        assert len(kept["train"]) == answer["train"]
        assert kept["train"][0] == answer["first_train"]


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def make_cfg(root, name, shots=-1, seed=1, subset="all", output=""):
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    cfg.DATASET.ROOT, cfg.DATASET.NAME, cfg.DATASET.NUM_SHOTS = str(root), name, shots
    cfg.DATASET.SUBSAMPLE_CLASSES = subset
    cfg.SEED, cfg.OUTPUT_DIR = seed, str(output)
    return cfg


def test_split_that_is_not_one_is_refused(tmp_path):
    for content in ("not json", "[]", '{"train": [], "val": []}', '{"train": [["a", 0]]}'):
        path = tmp_path / "split.json"
        path.write_text(content)
        with pytest.raises(ValueError, match=r"split\.json is not a split file"):
            read_split(str(path), "images")


@pytest.mark.parametrize(
    ("train", "val", "test", "message"),
    [
        ([], [], [], "no images"),
        ([("a", 0), ("c", 2)], [], [], "without a gap.*labels without: 1"),
        ([("a", 0)], [], [("b", 1)], "each class needs training images"),
        ([("a", 0), ("b", 0)], [], [], "label 0 has several class names"),
        ([("a", 0), ("a", 1)], [], [], r"these are one: 'a' and 'a' \(labels \[0, 1\]\)"),
        ([("a_b", 0), ("A  b", 1)], [], [], "these are one: 'a_b' and 'A  b'"),
        ([("a", 0), ("_", 1)], [], [], "label 1 has an empty class name, '_'"),
        ([("a", 0), ("b\tc", 1)], [], [], r"name of label 1, 'b\\tc', holds a tab"),
        ([], [("a", 0)], [("b", 1)], "each class needs test images"),
        ([("a", -1), ("b", 0)], [], [], "labels start at 0"),
        ([("a", 0), ("b", 10**12)], [], [], "labels without: 1"),
    ],
)
def test_unusable_classes_are_refused(train, val, test, message):
    parts = [
        [Datum(impath="x.jpg", label=y, classname=c) for c, y in p] for p in (train, val, test)
    ]
    with pytest.raises(ValueError, match=message):
        check_classes(Splits(*parts), "Pictures")


def test_missing_images_are_found_without_asking_for_each(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.jpg").touch()
    paths = [str(tmp_path / p) for p in ("a/1.jpg", "a/2.jpg", "b/1.jpg")]
    items = [Datum(impath=p, label=0, classname="a") for p in paths]
    assert find_missing(items) == paths[1:]
