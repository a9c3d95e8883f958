"""All fifteen datasets, read from miniature trees in their real layouts."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, Datum, build_dataset

import datasets
from datasets.catalogue import catalogue, find_datasets
from datasets.errors import InputError
from datasets.splits import find_missing
from datasets.synsets import cache_dir, kept_listing
from tests.datasets.miniature import TREES, class_folders, class_names, lines, picture

REPOSITORY = Path(__file__).resolve().parents[2]
WITH_SPLIT_FILE = [name for name in TREES if DATASET_REGISTRY.get(name).split_file]
TEST_ONLY = ("ImageNetV2", "ImageNetSketch", "ImageNetA", "ImageNetR")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def build(root, name, shots=-1, seed=1, subset="all", output=""):
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    cfg.DATASET.SUBSAMPLE_CLASSES = subset
    cfg.merge_from_list(["DATASET.ROOT", str(root), "DATASET.NAME", name])
    cfg.merge_from_list(["DATASET.NUM_SHOTS", shots, "SEED", seed, "OUTPUT_DIR", str(output)])
    return build_dataset(cfg)


def per_class(items, classes):
    counts = Counter(item.label for item in items or ())
    return [counts[label] for label in range(classes)]


def snapshot(folder):
    return sorted((str(p), p.stat().st_mtime_ns) for p in Path(folder).rglob("*"))


@pytest.mark.parametrize("name", TREES)
def test_raw_layout_is_read(name, root):
    expected = TREES[name](root)
    before = snapshot(root)
    dataset = build(root, name)
    assert snapshot(root) == before
    assert dataset.classnames == expected.names
    count = len(expected.names)
    for part, each in zip((dataset.train_x, dataset.val, dataset.test), expected.per_class):  # noqa: B905
        assert per_class(part, count) == [each] * count
        assert all(os.path.isfile(item.impath) for item in part)
    labels = {item.impath: item.label for item in [*dataset.train_x, *dataset.val, *dataset.test]}
    for path, label in expected.paths:
        assert labels[os.path.join(dataset.dataset_dir, path)] == label
    if name in TEST_ONLY:
        assert dataset.train_x == dataset.test
    elif name != "ImageNet":
        parts = [{i.impath for i in p} for p in (dataset.train_x, dataset.val, dataset.test)]
        assert len(set.union(*parts)) == sum(map(len, parts))


@pytest.mark.parametrize("name", WITH_SPLIT_FILE)
def test_split_file_is_followed(name, root):
    TREES[name](root)
    made = build(root, name)
    image_dir = made.image_dir
    parts = {"train": made.test, "val": made.train_x, "test": made.val}
    content = {
        part: [[os.path.relpath(i.impath, image_dir), i.label, f"{i.classname}!"] for i in items]
        for part, items in parts.items()
    }
    split = Path(made.dataset_dir, made.split_file)
    split.write_text(json.dumps(content))
    dataset = build(root, name)
    assert [i.impath for i in dataset.train_x] == [i.impath for i in made.test]
    assert [i.impath for i in dataset.val] == [i.impath for i in made.train_x]
    assert [i.impath for i in dataset.test] == [i.impath for i in made.val]
    assert dataset.classnames == [f"{each}!" for each in made.classnames]


@pytest.mark.parametrize("name", WITH_SPLIT_FILE)
def test_made_split_is_the_same_for_every_seed_and_random_state(name, root):
    TREES[name](root)
    random.seed(1)
    first = build(root, name, seed=1)
    random.seed(2)
    second = build(root, name, seed=2)
    assert [i.impath for i in first.train_x] == [i.impath for i in second.train_x]
    assert [i.impath for i in first.test] == [i.impath for i in second.test]
    assert [i.impath for i in first.train_x] != sorted(i.impath for i in first.train_x)


@pytest.mark.parametrize("name", TREES)
def test_shots_and_halves(name, root):
    classes = len(TREES[name](root).names)
    half = -(-classes // 2)
    whole, base, new = (build(root, name, 2, subset=s) for s in ("all", "base", "new"))
    assert (base.num_classes, new.num_classes) == (half, classes - half)
    assert base.classnames + new.classnames == whole.classnames
    assert [i.impath for i in base.train_x + new.train_x] == sorted(
        (i.impath for i in whole.train_x),
        key=lambda path: {i.impath: i.label for i in whole.train_x}[path] >= half,
    )
    if name not in TEST_ONLY:
        assert per_class(whole.train_x, classes) == [2] * classes
    if name == "ImageNet":
        assert whole.val == whole.test
        assert len(whole.test) == 3 * classes


def test_imagenet_listing_is_sorted_and_kept(root):
    TREES["ImageNet"](root)
    first = build(root, "ImageNet")
    paths = [i.impath for i in first.train_x]
    assert paths == sorted(paths)
    train = root / "imagenet/images/train"
    (kept,) = [
        p for p in cache_dir().glob("*.json") if json.loads(p.read_text())["folder"] == str(train)
    ]
    content = json.loads(kept.read_text())
    content["images"]["n01440764"] = ["from_the_cache.JPEG"]
    kept.write_text(json.dumps(content))
    assert kept_listing(str(train))["n01440764"] == ["from_the_cache.JPEG"]
    picture(train / "n01440764/one_more.JPEG")
    assert len(kept_listing(str(train))["n01440764"]) == 7
    class_folders(train, ["n09999999"], 1)
    assert "n09999999" in kept_listing(str(train))
    kept.write_text("{ damaged")
    assert len(kept_listing(str(train))["n01440764"]) == 7
    assert "n09999999" in json.loads(kept.read_text())["images"]


def test_imagenet_works_without_a_cache_folder(root, tmp_path, capsys):
    TREES["ImageNet"](root)
    (tmp_path / "cache").write_text("a file is in the way")
    assert len(build(root, "ImageNet").train_x) == 24
    assert "not kept" in capsys.readouterr().out


def test_imagenet_variant_takes_class_names_from_imagenet(root):
    TREES["ImageNetA"](root)
    (root / "imagenet-adversarial/classnames.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"No classnames\.txt"):
        build(root, "ImageNetA")
    (root / "imagenet").mkdir()
    class_names(root / "imagenet")
    assert build(root, "ImageNetA").classnames == ["goldfish", "tiger shark"]


def test_imagenet_folder_without_a_name_is_named(root):
    TREES["ImageNetR"](root)
    class_folders(root / "imagenet-rendition/imagenet-r", ["n7"], 1)
    with pytest.raises(ValueError, match=r"classnames\.txt does not name these folders.*n7"):
        build(root, "ImageNetR")


@pytest.mark.parametrize("strange", ["n01440764", "4"])
def test_imagenetv2_folder_that_is_no_position_in_classnames(strange, root):
    TREES["ImageNetV2"](root)
    class_folders(root / "imagenetv2/imagenetv2-matched-frequency-format-val", [strange], 1)
    with pytest.raises(ValueError, match=f"holds {strange}; expected are folders 0 to 3"):
        build(root, "ImageNetV2")


def test_three_seeds_from_a_read_only_root(root, tmp_path):
    TREES["DescribableTextures"](root)
    folder = root / "dtd"
    (folder / "split_fewshot").mkdir()
    (folder / "split_fewshot/shot_2-seed_1.pkl").write_bytes(b"not to be read")
    for path in [root, *root.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    before = snapshot(root)
    draws = {}
    for seed in (1, 2, 3):
        output = tmp_path / f"seed{seed}"
        output.mkdir()
        dataset = build(root, "DescribableTextures", 2, seed, output=output)
        draws[seed] = [i.impath for i in dataset.train_x]
        kept = json.loads(
            (output / f"few_shot_DescribableTextures_all_2shots_seed{seed}.json").read_text()
        )
        assert [os.path.join(dataset.image_dir, p) for p, _, _ in kept["train"]] == draws[seed]
    assert len({tuple(draw) for draw in draws.values()}) == 3
    assert snapshot(root) == before
    for path in [root, *root.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def test_foreign_cache_is_left_alone_and_said_once(root, capsys):
    TREES["DescribableTextures"](root)
    pickle = root / "dtd/split_fewshot/shot_2-seed_1.pkl"
    pickle.parent.mkdir()
    pickle.write_bytes(b"anything")
    build(root, "DescribableTextures", 2)
    assert pickle.read_bytes() == b"anything"
    assert capsys.readouterr().out.count("split_fewshot") == 1


def test_draw_is_written_only_where_the_run_has_a_folder(root, tmp_path):
    TREES["EuroSAT"](root)
    build(root, "EuroSAT", 2, output=tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


# Bad input


def test_no_root_given():
    with pytest.raises(FileNotFoundError, match="Pass --root"):
        build("", "EuroSAT")


def test_missing_root(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        build(tmp_path / "nowhere", "EuroSAT")


def test_root_that_is_a_file(tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        build(tmp_path / "data", "EuroSAT")


def test_missing_dataset_folder_says_how_to_get_it(root):
    with pytest.raises(FileNotFoundError, match=r"eurosat, .*datasets\.download EuroSAT --root"):
        build(root, "EuroSAT")


def test_dataset_folder_that_is_a_file(root):
    (root / "eurosat").touch()
    with pytest.raises(NotADirectoryError, match="EuroSAT is expected in"):
        build(root, "EuroSAT")


def test_no_permission(root, monkeypatch):
    """Root reads everything, so what the system would say is put into its mouth."""
    TREES["EuroSAT"](root)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        with pytest.raises(PermissionError, match=r"No permission to list .*2750"):
            build(root, "EuroSAT")
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        with pytest.raises(PermissionError, match="No permission to list"):
            find_missing([Datum(impath="folder/a.jpg")])
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        with pytest.raises(PermissionError, match=r"No permission to read .*eurosat"):
            build(root, "EuroSAT")


def test_split_naming_missing_images(root):
    TREES["EuroSAT"](root)
    made = build(root, "EuroSAT")
    rows = [[os.path.relpath(i.impath, made.image_dir), i.label, i.classname] for i in made.train_x]
    gone = [f"Forest/gone_{i}.jpg" for i in range(5)]
    rows += [[path, 1, "Forest"] for path in gone]
    split = Path(made.dataset_dir, made.split_file)
    split.write_text(json.dumps({"train": rows[1:], "val": [], "test": rows[:1]}))
    message = re.escape(f"{gone[0]}, {gone[1]}, {gone[2]} and 2 more")
    with pytest.raises(FileNotFoundError, match=f"5 of the images.*{message}"):
        build(root, "EuroSAT")


def test_no_split_and_nothing_to_make_one_from(root):
    TREES["OxfordPets"](root)
    shutil.rmtree(root / "oxford_pets/annotations")
    with pytest.raises(FileNotFoundError, match=r"none can be made.*trainval\.txt.*download"):
        build(root, "OxfordPets")


def test_empty_class_folder(root):
    TREES["EuroSAT"](root)
    (root / "eurosat/2750/River").mkdir()
    with pytest.raises(ValueError, match="River holds no images"):
        build(root, "EuroSAT")


def test_class_too_small_to_split(root):
    TREES["EuroSAT"](root)
    picture(root / "eurosat/2750/River/River_1.jpg")
    with pytest.raises(ValueError, match="'River' has 1 images, too few"):
        build(root, "EuroSAT")


def test_other_files_in_a_class_folder_are_left_out_and_said(root, capsys):
    TREES["EuroSAT"](root)
    (root / "eurosat/2750/Forest/Thumbs.db").touch()
    (root / "eurosat/2750/Forest/.hidden.jpg").touch()
    assert len(build(root, "EuroSAT").train_x) == 15
    assert "left out, not images by their names: Thumbs.db" in capsys.readouterr().out


# The package


def test_every_dataset_has_its_config():
    for name, dataset in catalogue().items():
        config = dataset.__module__.rpartition(".")[2]
        content = yaml.safe_load((REPOSITORY / f"configs/datasets/{config}.yaml").read_text())
        assert content == {"DATASET": {"NAME": name}}
    assert set(TREES) <= set(catalogue())


def test_names_and_near_names():
    assert list(find_datasets(["dtd", "CALTECH101"])) == ["DescribableTextures", "Caltech101"]
    with pytest.raises(ValueError, match="Did you mean eurosat"):
        find_datasets(["eurosatt"])


def test_config_without_our_keys_is_enough(root):
    TREES["EuroSAT"](root)
    cfg = get_cfg_default()
    cfg.DATASET.ROOT, cfg.DATASET.NAME, cfg.OUTPUT_DIR = str(root), "EuroSAT", ""
    assert build_dataset(cfg).num_classes == 3
    cfg.DATASET.NAME = "MyImages"
    with pytest.raises(FileNotFoundError, match=r"DATASET\.DIR"):
        build_dataset(cfg)


def test_extend_cfg_keeps_what_is_there():
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    cfg.DATASET.DIR = "/pictures"
    datasets.extend_cfg(cfg)
    assert cfg.DATASET.DIR == "/pictures"


@pytest.mark.parametrize("removed", ["imagenet", "caltech101", "my_images"])
def test_deleting_a_dataset_breaks_nothing_else(removed, tmp_path):
    shutil.copytree(
        REPOSITORY / "datasets", tmp_path / "datasets", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / f"datasets/{removed}.py").unlink()
    code = (
        "import datasets; from datasets.catalogue import catalogue; "
        "import datasets.check, datasets.download; print(len(catalogue()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) == len(catalogue()) - (removed != "my_images")


def test_no_file_of_a_dataset_imports_another_or_a_trainer():
    files = list((REPOSITORY / "datasets").glob("*.py"))
    modules = {d.__module__.rpartition(".")[2] for d in catalogue().values()}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(alias.name for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            parts = {part for name in names for part in name.split(".")}
            assert not parts & {"trainers", "prompting", "protocols"}, path
            assert not parts & modules or path.stem == "__init__", path


# What a split file may not say


@pytest.fixture
def eurosat_split(root):
    """Writes EuroSAT's split file: the made split, after ``change`` of the content."""
    TREES["EuroSAT"](root)
    made = build(root, "EuroSAT")
    rows = {
        part: [[os.path.relpath(i.impath, made.image_dir), i.label, i.classname] for i in items]
        for part, items in (("train", made.train_x), ("val", made.val), ("test", made.test))
    }

    def write(change, encoding="utf-8"):
        content = json.loads(json.dumps(rows))
        change(content)
        Path(made.dataset_dir, made.split_file).write_text(json.dumps(content), encoding=encoding)
        return content

    return write


@pytest.mark.parametrize(
    "path", ["../../secret.jpg", "Forest/../../../secret.jpg", "{}/secret.jpg"]
)
def test_split_naming_images_outside_of_the_dataset_is_refused(path, root, eurosat_split, tmp_path):
    picture(root / "secret.jpg")
    eurosat_split(lambda c: c["train"].append([path.format(root), 0, "Annual Crop Land"]))
    with pytest.raises(
        InputError, match=r"EuroSAT: 1 images lie outside of .*eurosat: \.\./secret"
    ):
        build(root, "EuroSAT")


def test_lists_without_a_split_file_may_not_leave_the_dataset_either(root):
    TREES["FGVCAircraft"](root)
    picture(root / "secret.jpg")
    variants = root / "fgvc_aircraft/images_variant_test.txt"
    line = variants.read_text().splitlines()[0]
    variants.write_text(f"{variants.read_text()}../../secret {line.split(' ', 1)[1]}\n")
    with pytest.raises(InputError, match=r"outside of .*fgvc_aircraft"):
        build(root, "FGVCAircraft")


@pytest.mark.parametrize(
    "row",
    [
        ["Forest/Forest_0000.jpg", 1, None],
        ["Forest/Forest_0000.jpg", 1.5, "Forest"],
        ["Forest/Forest_0000.jpg", True, "Forest"],
        ["", 1, "Forest"],
        [None, 1, "Forest"],
        "abc",
    ],
)
def test_split_with_a_row_that_is_none_is_refused(row, root, eurosat_split):
    eurosat_split(lambda c: c["test"].append(row))
    with pytest.raises(InputError, match=r"is not a split file .* is no \[image path, label"):
        build(root, "EuroSAT")


def test_split_with_names_that_are_one_to_the_text_encoder_is_refused(root, eurosat_split):
    def rename(content):
        for rows in content.values():
            for row in rows:
                row[2] = {0: "sea_lake", 2: "Sea lake"}.get(row[1], row[2])

    eurosat_split(rename)
    with pytest.raises(InputError, match=r"'sea_lake' and 'Sea lake' \(labels \[0, 2\]\)"):
        build(root, "EuroSAT")


def test_doubtful_images_of_a_published_split_are_said(root, eurosat_split, capsys):
    def repeat(content):
        content["test"].append(content["train"][0])
        path, label, _ = content["train"][1]
        names = {label: name for _, label, name in content["train"]}
        content["train"].append([path, (label + 1) % 3, names[(label + 1) % 3]])

    content = eurosat_split(repeat)
    assert len(build(root, "EuroSAT").test) == len(content["test"])
    out = capsys.readouterr().out
    assert "EuroSAT: 1 images have several classes" in out
    assert "EuroSAT: 1 training images are in val or test too" in out


def test_names_that_imagenet_publishes_twice_are_said_and_kept(root, capsys):
    TREES["ImageNetA"](root)
    names = root / "imagenet-adversarial/classnames.txt"
    names.write_text(names.read_text().replace("tiger shark", "Goldfish"))
    assert build(root, "ImageNetA").classnames == ["goldfish", "Goldfish"]
    assert capsys.readouterr().out.count("'goldfish' and 'Goldfish' (labels [0, 1])") == 1


def test_split_without_training_images_can_only_be_tested(root, eurosat_split):
    def empty(content):
        content["train"], content["val"] = [], []

    eurosat_split(empty)
    dataset = build(root, "EuroSAT", 2)
    assert dataset.test_only
    assert dataset.train_x == dataset.test


def test_only_sets_without_training_images_are_test_only(root):
    for name in ("ImageNetA", "EuroSAT"):
        TREES[name](root)
        assert build(root, name).test_only == (name == "ImageNetA")


def test_split_without_test_images_is_refused(root, eurosat_split):
    eurosat_split(lambda c: c.update(test=[]))
    with pytest.raises(InputError, match="no test images"):
        build(root, "EuroSAT")


def test_split_with_a_byte_order_mark(root, eurosat_split):
    content = eurosat_split(lambda c: None, encoding="utf-8-sig")
    assert len(build(root, "EuroSAT").train_x) == len(content["train"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_split_in_another_encoding(encoding, root, eurosat_split):
    eurosat_split(lambda c: None, encoding=encoding)
    with pytest.raises(InputError, match=r"split_zhou_EuroSAT\.json is not UTF-8.*Save it"):
        build(root, "EuroSAT")


def test_pipe_named_like_an_image(root, eurosat_split):
    os.mkfifo(root / "eurosat/2750/Forest/pipe.png")
    eurosat_split(lambda c: c["train"].append(["Forest/pipe.png", 1, "Forest"]))
    with pytest.raises(InputError, match=r"1 of the images .*pipe\.png"):
        build(root, "EuroSAT")
    (root / "eurosat/split_zhou_EuroSAT.json").unlink()
    with pytest.raises(InputError, match=r"is no file .*pipe\.png"):
        build(root, "EuroSAT")


def test_damaged_annotations_are_told_as_such(root):
    TREES["FGVCAircraft"](root)
    lines(root / "fgvc_aircraft/images_variant_val.txt", ["0034309"])
    with pytest.raises(InputError, match=r"FGVCAircraft: the lists of images .*datasets\.check"):
        build(root, "FGVCAircraft")
    TREES["StanfordCars"](root)
    for damaged in (b"MATLAB 5.0 MAT-file" * 30, b""):
        (root / "stanford_cars/devkit/cars_meta.mat").write_bytes(damaged)
        with pytest.raises(
            InputError, match=r"StanfordCars: the lists of images .*cars_meta\.mat is no"
        ):
            build(root, "StanfordCars")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["goldfish", "great white shark"], "'goldfish' is no synset with a name"),
        (["great white shark", "goldfish"], "'great white shark' is no synset with a name"),
        (["n01491361 tiger shark", "n01443537 goldfish"], "not in the order of the synsets"),
        (["n01443537 goldfish", "n01443537 x"], "names n01443537 twice, 'goldfish' and 'x'"),
        (["n01443537 goldfish\tn01491361 shark"], "within the name: put one synset"),
        (["n01443537 gold\x1ffish"], "within the name: put one synset"),
        (["n01443537\x1fgoldfish"], "is no synset with a name"),
        (["n0144353 goldfish"], "is no synset with a name"),
    ],
)
def test_class_names_of_imagenet_that_are_wrong(content, message, root):
    TREES["ImageNetA"](root)
    lines(root / "imagenet-adversarial/classnames.txt", content)
    with pytest.raises(InputError, match=rf"{message}.*datasets\.download ImageNet") as error:
        build(root, "ImageNetA")
    assert "Remove" not in str(error.value)


def test_a_class_that_one_part_of_imagenet_lacks_is_named(root):
    TREES["ImageNet"](root)
    lost = sorted((root / "imagenet/images/val").iterdir())[1]
    shutil.rmtree(lost)
    with pytest.raises(
        InputError, match=rf"only one of .* has the classes {lost.name}\..*datasets\.check"
    ):
        build(root, "ImageNet")


def test_class_names_of_imagenet_with_a_byte_order_mark(root):
    TREES["ImageNetV2"](root)
    names = root / "imagenetv2/classnames.txt"
    names.write_text(names.read_text(), encoding="utf-8-sig")
    assert build(root, "ImageNetV2").classnames[0] == "tench"


# The draw belongs to the run


@pytest.fixture
def output(tmp_path):
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


def drawn(dataset):
    return [[(i.impath, i.label) for i in part] for part in (dataset.train_x, dataset.val)]


def test_without_a_seed_a_run_that_goes_on_keeps_its_draw(root, output, tmp_path):
    TREES["EuroSAT"](root)
    first = build(root, "EuroSAT", 2, seed=-1, output=output)
    for subset in ("all", "all", "base"):
        again = build(root, "EuroSAT", 2, seed=-1, subset=subset, output=output)
        kept = [[i for i in part if subset == "all" or i[1] < 2] for part in drawn(first)]
        assert drawn(again) == kept
    draws = set()
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        other = build(root, "EuroSAT", 2, seed=-1, output=tmp_path / str(number))
        draws.add(tuple(drawn(other)[0]))
    assert len(draws) > 1
    cfg = get_cfg_default()
    cfg.merge_from_list(["DATASET.ROOT", str(root), "DATASET.NAME", "EuroSAT", "SEED", -1])
    cfg.merge_from_list(["DATASET.NUM_SHOTS", 2, "OUTPUT_DIR", "", "RESUME", str(output)])
    assert drawn(build_dataset(cfg)) == drawn(first)


def test_a_kept_draw_whose_images_are_gone_is_refused(root, output):
    TREES["EuroSAT"](root)
    build(root, "EuroSAT", 2, seed=-1, output=output)
    (draw,) = output.glob("draw_*.json")
    content = json.loads(draw.read_text())
    content["train"][0][0] = "Forest/gone.jpg"
    draw.write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=r"1 of the images that this run drew .*: Forest/gone\.jpg"
    ):
        build(root, "EuroSAT", 2, seed=-1, output=output)
    content["train"][0] = content["train"][1]
    draw.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"1 of the images that this run drew .* are not in the"):
        build(root, "EuroSAT", 2, seed=-1, output=output)
    rows = ("[[]]", '["x"]', '[["x", true, "y"]]', '[[1, 0, "y"]]', '"x"', "{}", "[]")
    for damaged in ("{", "[]", "[" * 9999, *(f'{{"train": {each}, "val": null}}' for each in rows)):
        draw.write_text(damaged)
        with pytest.raises(InputError, match="should hold the images that this run drew"):
            build(root, "EuroSAT", 2, seed=-1, output=output)


def test_the_record_of_a_draw_is_not_overwritten_by_another(root, output, capsys):
    TREES["EuroSAT"](root)
    build(root, "EuroSAT", 2, output=output)
    (record,) = output.glob("few_shot_*.json")
    before = record.read_bytes()
    build(root, "EuroSAT", 2, output=output)
    assert "other images" not in capsys.readouterr().out
    for name in ("AnnualCrop", "Forest", "SeaLake"):
        for i in range(20, 30):
            picture(root / f"eurosat/2750/{name}/new_{i}.jpg")
    build(root, "EuroSAT", 2, output=output)
    assert record.read_bytes() == before
    assert "lists other images than are drawn now" in capsys.readouterr().out


def test_what_a_killed_run_left_of_its_draw_is_removed(root, output):
    TREES["EuroSAT"](root)
    for file in ("draw_EuroSAT_2shots.json", "few_shot_EuroSAT_all_2shots_seed-1.json"):
        (output / f".{file}.{'0' * 32}").write_text("half")
    (output / ".other").touch()
    build(root, "EuroSAT", 2, seed=-1, output=output)
    assert [p.name for p in output.iterdir() if p.name.startswith(".")] == [".other"]
