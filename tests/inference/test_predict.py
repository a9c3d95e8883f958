"""predict.py as a program: what it writes, what it says of mistakes; nothing is left half done."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import predict
import train
from inference import Classifier, class_folders, export, listing
from prompting import checkpoints
from tests import tiny_clip
from tests.trainers.conftest import Run, Trained

from .conftest import BASE

ROOT = Path(__file__).parents[2]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Call:
    """predict.py in this process: exit status, standard output, standard error."""

    def run_program(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
        status = train.run_program(predict.main)
        return status, *capsys.readouterr()

    return run_program


@pytest.fixture
def album(pictures: list[Path], tmp_path: Path) -> Path:
    """A folder with the pictures of three classes, a folder each, and what is no picture."""
    folder = tmp_path / "album"
    for path in pictures:
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.parent.name)
    (folder / "readme.txt").write_text("")
    (folder / ".hidden.jpg").write_text("")
    return folder


@pytest.fixture
def run_folder(trained: Trained) -> Path:
    return trained("PromptSRC")


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.slow
def test_a_run_on_the_built_in_flowers_is_repeated_to_the_label(
    call: Call, world: Path, tmp_path: Path, monkeypatch
) -> None:
    """The names are those that the test gave, from the file to share alone too."""
    arguments = train.parse_arguments(
        [
            *("--root", str(world), "--seed", "1", "--trainer", "PromptSRC"),
            *("--dataset-config-file", "configs/datasets/builtin_flowers.yaml"),
            *("--config-file", "configs/trainers/PromptSRC/builtin.yaml"),
            *("--output-dir", str(tmp_path / "run"), "DATASET.SUBSAMPLE_CLASSES", "base"),
            *("DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "1", "TRAINER.PROMPTSRC.GPA_MEAN", "1"),
            *("DATALOADER.NUM_WORKERS", "0"),
        ]
    )
    trainer = train.build_trainer(train.configure(arguments))
    predicted = []
    own = type(trainer).model_inference

    def recorded(self, images):
        predicted.append(own(self, images))
        return predicted[-1]

    monkeypatch.setattr(type(trainer), "model_inference", recorded)
    trainer.train()
    expected = torch.cat(predicted).argmax(1).tolist()
    names = trainer.dm.dataset.classnames
    images = [item.impath for item in trainer.dm.dataset.test]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(images)))
    status, out, _ = call(tmp_path / "run", "-")
    assert status == 0
    found = rows(out)
    assert [row["path"] for row in found] == images
    assert [row["name"] for row in found] == [names[label] for label in expected]
    shared = tmp_path / "run" / trainer.checkpoint_name / checkpoints.SHARED_FILE
    alone = shutil.copy(shared, tmp_path / "mine.safetensors")
    status, *_ = call(alone, *images[:40], "--csv", tmp_path / "list.csv", "--batch-size", "7")
    assert status == 0
    short = rows((tmp_path / "list.csv").read_text())
    assert [row["name"] for row in short] == [row["name"] for row in found[:40]]


def test_a_few_pictures_make_a_table(call: Call, run_folder: Path, album: Path) -> None:
    status, out, error = call(run_folder, album, "--top", "2")
    assert status == 0
    head, _, *lines = out.splitlines()
    assert head.split() == ["picture", "class", "probability", "then"]
    assert len(lines) == 9
    expected = Classifier.load(run_folder).predict(sorted(album.rglob("*/*.jpg")), top=2)
    for line, each in zip(lines, expected, strict=True):
        assert line.split()[:3] == [each.path, each.name, f"{each.probabilities[0]:.3f}"]
        assert line.endswith(f"{each.names[1]} {each.probabilities[1]:.3f}")
    assert "PromptSRC on " in error


def test_json_says_all_and_names_nothing_below_the_least_probability(
    call: Call, run_folder: Path, album: Path, tmp_path: Path
) -> None:
    expected = Classifier.load(run_folder).predict(sorted(album.rglob("*/*.jpg")))
    least = sorted(each.probabilities[0] for each in expected)[4]
    path = tmp_path / "answers.json"
    status, out, _ = call(run_folder, album, "--json", path, "--min-probability", least)
    assert (status, out) == (0, "")
    found = json.loads(path.read_text())
    assert (found["method"], found["classes"]) == ("PromptSRC", BASE)
    for picture, each in zip(found["pictures"], expected, strict=True):
        assert picture["path"] == each.path
        assert picture["name"] == (each.name if each.probabilities[0] >= least else "")
        assert [top["class"] for top in picture["top"]] == list(each.names)
        assert [top["probability"] for top in picture["top"]] == list(each.probabilities)
    assert sum(not picture["name"] for picture in found["pictures"]) == 4


def test_answers_take_the_place_of_older_answers_and_of_nothing_else(
    call: Call, run_folder: Path, album: Path, tmp_path: Path
) -> None:
    (shared,) = run_folder.glob("*/prompts.safetensors")
    prompts, names = shutil.copy(shared, tmp_path / "mine.safetensors"), tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    results = shutil.copy(next(run_folder.glob("results.json")), tmp_path)
    picture = next(album.rglob("*/*.jpg"))
    contents = {Path(path): Path(path).read_bytes() for path in (prompts, names, results, picture)}
    for path in contents:
        for flag, kind in (("--csv", "CSV"), ("--json", "JSON")):
            status, _, error = call(prompts, picture, "--classes-file", names, flag, path)
            assert (status, error.count("\n")) == (2, 1)
            assert f"{path} is there already and is no {kind} file of answers" in error
    for path, content in contents.items():
        assert path.read_bytes() == content
    for flag, path in (("--csv", tmp_path / "a.csv"), ("--json", tmp_path / "a.json")):
        path.touch()
        for top in ("1", "3"):
            before = path.stat().st_size
            assert call(prompts, album, flag, path, "--top", top)[0] == 0
            assert path.stat().st_size > before


def test_named_pictures_move_into_folders_and_nothing_is_overwritten(
    call: Call, run_folder: Path, album: Path, tmp_path: Path
) -> None:
    contents = Counter(path.read_bytes() for path in album.rglob("*/*.jpg"))
    answers_file, sorted_into = tmp_path / "answers.csv", tmp_path / "sorted"
    expected = Classifier.load(run_folder).predict(list(album.rglob("*/*.jpg")), top=1)
    least = sorted(each.probabilities[0] for each in expected)[4]
    flags = ("--move-into", sorted_into, "--csv", answers_file, "--min-probability", least)
    status, _, error = call(run_folder, album, *flags)
    assert status == 0
    found = rows(answers_file.read_text())
    named = [row for row in found if row["name"]]
    assert 0 < len(named) < len(found)
    assert f"{len(named)} pictures moved into" in error
    for row in found:
        assert Path(row["path"]).exists() == (not row["name"])
    in_class = Counter(path.parent.name for path in sorted_into.rglob("*.jpg"))
    assert in_class == Counter(row["name"] for row in named)
    left = [*album.rglob("*/*.jpg"), *sorted_into.rglob("*.jpg")]
    assert Counter(path.read_bytes() for path in left) == contents
    moved = sorted(sorted_into.rglob("*.jpg"))
    assert call(run_folder, sorted_into, "--move-into", sorted_into)[0] == 0
    assert sorted(sorted_into.rglob("*.jpg")) == moved


def test_a_class_name_is_no_path(tmp_path: Path) -> None:
    for name in ("../../evil", "a/b", "..", 'c:"d', "e\\f", ""):
        assert Path(class_folders.folder_name(name)).name == class_folders.folder_name(name) != ".."
    (tmp_path / "a.jpg").write_text("a")
    assert class_folders.move([(str(tmp_path / "a.jpg"), "../x")], tmp_path / "into") == 1
    assert (tmp_path / "into" / "_x" / "a.jpg").exists()


def test_moved_links_lead_where_they_led(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "album").mkdir()
    for name in ("elsewhere.jpg", "album/moved.jpg"):
        (tmp_path / name).write_text(name)
    targets = {
        "1": "../elsewhere.jpg",
        "2": "moved.jpg",
        "3": "2.jpg",
        "4": tmp_path / "album/1.jpg",
    }
    for name, target in targets.items():
        (tmp_path / "album" / f"{name}.jpg").symlink_to(target)
    paths = sorted(str(path) for path in Path("album").iterdir())
    contents = [Path(path).read_text() for path in paths]
    for order in (paths, paths[::-1]):
        copy = shutil.copytree("album", "copy", symlinks=True, dirs_exist_ok=True)
        assert class_folders.move([(path, "cat") for path in order], Path("sorted")) == 5
        found = [Path("sorted/cat", Path(path).name) for path in paths]
        assert [path.read_text() for path in found] == contents
        assert not list(Path("album").iterdir())
        shutil.rmtree("album")
        shutil.rmtree("sorted")
        Path(copy).rename("album")


def test_what_cannot_be_moved_is_said_before_anything_is(
    call: Call, run_folder: Path, album: Path, tmp_path: Path, monkeypatch
) -> None:
    into = tmp_path / "sorted"
    into.mkdir()
    (into / BASE[1]).write_text("a file")
    before = sorted(tmp_path.rglob("*"))
    long = " ".join(["championship"] * 25)
    refused = {
        (): f"{into / BASE[1]} is no folder",
        ("--classes", "a/c", "dog", "a:C"): "the classes 'a/c' and 'a:C' would have one folder",
        ("--classes", "cat", long): "its name has 324 bytes, and 255 are the most",
    }
    for classes, says in refused.items():
        status, out, error = call(run_folder, album, "--move-into", into, *classes)
        assert (status, out) == (2, "")
        assert says in error.splitlines()[-1]
        assert sorted(tmp_path.rglob("*")) == before
    # a number behind a name that is taken may be too much
    name = f"{'a' * 250}.jpg"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(folder)
    paths = [str(tmp_path / folder / name) for folder in ("one", "two")]
    with pytest.raises(ValueError, match="too long for a number behind it"):
        class_folders.move([(path, "cat") for path in paths], tmp_path / "new")
    assert all(map(os.path.exists, paths))
    # root may write anywhere, so that the system's answer is put in
    for closed in (tmp_path / "one", tmp_path / "two"):
        monkeypatch.setattr(os, "access", lambda path, mode, no=closed: Path(path) != no)
        with pytest.raises(ValueError, match=f"no permission to .* {closed}"):
            class_folders.check(paths[:1], ["two"], tmp_path)


def test_other_class_names_and_zero_shot(
    call: Call, run_folder: Path, trained: Trained, album: Path, backbones: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("zebra\nred fox\n", encoding="utf-8-sig")
    status, out, _ = call(run_folder, *album.rglob("ant/*"), "--classes-file", names)
    assert status == 0
    assert {"zebra", "red"} & set(out.split())
    status, _, error = call(trained("DePTCoOp"), album, "--classes", "zebra", BASE[0])
    assert status == 0
    assert "note: DePTCoOp knows more of the classes it was trained on" in error
    backbone = tiny_clip.write(backbones)
    status, out, error = call(album, "--zero-shot", backbone, "--classes", "zebra")
    assert status == 0
    assert out.count(" 1.000") == 9
    assert "of one class the probability is always 1" in error


def test_what_cannot_be_read_is_reported_and_the_rest_classified(
    call: Call, run_folder: Path, album: Path, tmp_path: Path
) -> None:
    for number in range(7):
        (album / f"broken{number}.jpg").write_text("no picture")
    os.mkfifo(album / "pipe.jpg")
    path = tmp_path / "answers.csv"
    status, _, error = call(run_folder, album, "--csv", path)
    assert status == 0
    assert "8 of 17 pictures were not read" in error
    assert error.count("cannot be read: ") == predict.REPORTED
    found = rows(path.read_text())
    assert len(found) == 17
    assert all(bool(row["error"]) != bool(row["name"]) for row in found)
    assert [row["path"] for row in found if "no ordinary file" in row["error"]] == [
        str(album / "pipe.jpg")
    ]


def unfinished(run_folder: Path, folder: Path) -> Path:
    output = shutil.copytree(run_folder, folder / "unfinished")
    (prompts,) = (path.parent for path in output.glob("*/checkpoint"))
    (prompts / "resume.pth").write_text("")
    return output


def damaged(run_folder: Path, folder: Path, name: str) -> Path:
    (path,) = run_folder.glob(f"*/{name}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    (folder / path.name).write_bytes(content)
    return folder / path.name


def test_a_mistake_is_a_line_and_status_2(
    call: Call,
    run: Run,
    run_folder: Path,
    trained: Trained,
    album: Path,
    tmp_path: Path,
    monkeypatch,
) -> None:
    picture = next(album.rglob("ant/*.jpg"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "twice.txt").write_text("cat\nCat\n")
    (tmp_path / "gap.txt").write_text("cat\n\ndog\n")
    (tmp_path / "nothing.txt").write_text("")
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    Image.fromarray(np.zeros((1, 40_000, 3), np.uint8)).save(tmp_path / "wide.png")
    published = tmp_path / "published.pth.tar"
    torch.save({"state_dict": {"ctx": torch.zeros(4, 128)}, "epoch": 1}, published)
    features = tmp_path / "features.safetensors"
    export.write_features(Classifier.load(run_folder), features)
    test_only = run("ZeroshotCLIP", "zero", "--eval-only")
    out = tmp_path / "answers.csv"
    before = sorted(tmp_path.rglob("*"))
    mistakes = {
        ("nowhere", picture): "there is no run nowhere",
        (tmp_path / "empty", picture): "is not the folder of a run",
        (test_only, picture): "holds no prompts",
        (run_folder.parent, picture): "is not the folder of a run, but holds",
        (unfinished(run_folder, tmp_path), picture): "is not finished",
        (damaged(run_folder, tmp_path, "model.pth.tar-3"), picture): "model.pth.tar-3",
        (damaged(run_folder, tmp_path, "*.safetensors"), picture): "cannot be read as prompts",
        (picture, picture): "cannot be read (it is neither a zip",
        (published, picture): "does not say of itself: method",
        (features, picture): "holds class features (inference.export --features), which are no",
        (run_folder,): "expected a run and pictures",
        (run_folder, tmp_path / "empty"): "there is no picture in",
        (run_folder, tmp_path / "none.jpg"): "there is no file or folder",
        (run_folder, tmp_path / "wide.png"): "40000 x 1 pixels, more than 32000 on a side",
        (run_folder, tmp_path / "file"): "damaged or not a picture",
        (run_folder, picture, "--classes", "cat", "cat"): "are one to CLIP",
        (run_folder, picture, "--classes", "cat", "dog\twolf"): r"'dog\twolf' holds a tab",
        (run_folder, picture, "--classes", "cat", "_"): "class name 2 of 2 is empty",
        (run_folder, picture, "--classes-file", tmp_path / "twice.txt"): "'cat' and 'Cat' are one",
        (run_folder, picture, "--classes-file", tmp_path / "gap.txt"): "line 2 is empty",
        (run_folder, picture, "--classes-file", tmp_path / "nothing.txt"): "holds no class names",
        (run_folder, picture, "--classes-file", tmp_path / "blank.txt"): "holds no class names",
        (run_folder, picture, "--classes-file", tmp_path / "latin.txt"): "latin.txt",
        (run_folder, picture, "--classes-file", tmp_path / "none.txt"): "none.txt",
        (run_folder, picture, "--classes", "x " * 80): "does not fit into CLIP's 77 tokens",
        (run_folder, picture, "--csv", tmp_path / "no" / "a.csv"): "there is no folder",
        (run_folder, picture, "--csv", tmp_path): "is no file",
        (run_folder, picture, "--csv", picture): "is no CSV file of answers",
        (run_folder, picture, "--move-into", tmp_path / "file"): "is no folder",
        (run_folder, picture, "--csv", out, "--json", out): "are both given",
        (run_folder, picture, "--top", "0"): "--top is 0",
        (run_folder, picture, "--min-probability", "7"): "expected 0 to 1",
        (run_folder, picture, "--batch-size", "0"): "--batch-size is 0",
        (run_folder, picture, "--device", "tpu"): "expected cpu or cuda",
        (run_folder, picture, "--precision", "int8"): "choose one of fp32",
        (run_folder, picture, "--sead", "1"): "--help` lists the flags",
        (picture, "--zero-shot", "ViT-B/61", "--classes", "a"): "did you mean 'ViT-B/16'",
        (picture, "--zero-shot", "ViT-B/16"): "needs class names",
        (run_folder, picture, "--template", "a {}."): "is for --zero-shot",
        (run_folder, album, "--zero-shot", "ViT-B/16", "--classes", "a"): (
            "is the folder of a run, where pictures are expected: leave it or --zero-shot out"
        ),
        (run_folder, run_folder): "is the folder of a run, where pictures are expected: give one",
        (tmp_path / "wide.png", "--zero-shot", "ViT-B/16", "--backbone", "x", "--classes", "a"): (
            "leave --backbone out"
        ),
    }
    before = sorted(tmp_path.rglob("*"))
    for arguments, says in mistakes.items():
        flags = () if {"--csv", "--zero-shot"} & set(arguments) else ("--csv", out)
        status, printed, error = call(*arguments[:2], *flags, *arguments[2:])
        message = error.splitlines()[-1]
        assert status == 2, (arguments, error)
        assert says in message, (arguments, error)
        assert message.startswith("error: ")
        assert "Traceback" not in error
        assert not printed
        assert sorted(tmp_path.rglob("*")) == before, arguments
    # root may write anywhere, so that the system's answer is put in
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for flag in ("--csv", "--move-into"):
        status, _, error = call(run_folder, picture, flag, tmp_path / "new")
        assert (status, "no permission to write in" in error) == (2, True), error
        assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_may_not_be_listed(monkeypatch, tmp_path: Path) -> None:
    """Root may list any, so that the system's answer is put in."""

    def scandir(path: str):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ValueError, match=rf"the folder {tmp_path} cannot be listed \(Permission"):
        listing.list_pictures([str(tmp_path)])


def test_a_picture_is_listed_once_and_an_order_kept(album: Path, monkeypatch) -> None:
    (first, *_), folder = sorted(album.rglob("*/*.jpg")), str(album)
    monkeypatch.chdir(album)
    lines = io.StringIO(f"{first}\r\n\nthere/is none.jpg\n")
    found = listing.list_pictures(["barrel", "-", folder, "."], lines)
    assert len(found) == 10
    assert found[0].startswith("barrel/")
    assert found[3:5] == [str(first), "there/is none.jpg"]


def test_linked_folders_are_entered_once_and_what_is_left_out_is_said(
    album: Path, tmp_path: Path, capsys
) -> None:
    plain = listing.list_pictures([str(album)])
    assert capsys.readouterr().err == (
        f"note: 1 files left out, not pictures by their names: {album / 'readme.txt'}\n"
    )
    (album / "ant").rename(tmp_path / "ant")
    (album / "ant").symlink_to(tmp_path / "ant")
    (album / "barrel" / "back").symlink_to(album)
    (album / "barrel" / "again").symlink_to(tmp_path / "ant")
    for name in ("a.heic", "b.avif", "c.JPE", "d"):
        (album / "barrel" / name).touch()
    (tmp_path / "none").mkdir()
    given = [str(album), str(tmp_path / "ant"), str(tmp_path / "none")]
    assert listing.list_pictures(given) == plain
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"note: there is no picture in {tmp_path / 'none'}"
    assert said[1].startswith("note: 5 files left out, not pictures by their names: ")
    assert said[1].endswith("b.avif and 2 more")
    for picture in (album / "barrel").glob("*.jpg"):
        picture.unlink()
    (album / "barrel" / "again").unlink()
    (album / "barrel" / "back").unlink()
    with pytest.raises(ValueError, match=r"looked for .*, and found .*a\.heic, .*b\.avif"):
        listing.list_pictures([str(album / "barrel")])


def test_our_own_bugs_and_interruptions_leave_nothing(
    call: Call, run_folder: Path, album: Path, tmp_path: Path, monkeypatch
) -> None:
    before = sorted(tmp_path.rglob("*"))

    def broken(self, images):
        raise error

    monkeypatch.setattr(Classifier, "_probabilities", broken)
    error: BaseException = KeyError("bug")
    status, _, said = call(run_folder, album, "--csv", tmp_path / "a.csv")
    assert (status, said.count("Traceback")) == (1, 1)
    error = torch.cuda.OutOfMemoryError("out of memory")
    status, _, said = call(run_folder, album, "--csv", tmp_path / "a.csv")
    assert status == 2
    assert "lower --batch-size" in said
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        call(run_folder, album, "--csv", tmp_path / "a.csv")
    assert sorted(tmp_path.rglob("*")) == before


def test_as_a_program(run_folder: Path, album: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "predict.py", run_folder, album / "ant", "nowhere"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: there is no file or folder nowhere\n"
