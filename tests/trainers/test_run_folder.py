"""A run's folder: nothing is overwritten, mixed or left behind, and what differs is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import yaml

from prompting import checkpoints
from tests import tiny_clip
from trainers import prompt_trainer, results, run_folder
from trainers.coop import CoOp

from .conftest import Run, assert_same, learned
from .test_resume import STEPS_AN_EPOCH
from .test_training import Killed, kill_at

ONE_EPOCH = {"OPTIM__MAX_EPOCH": "1"}


def content(folder: Path) -> dict[str, bytes]:
    """All files by name; of logs, to which a run in this process still writes, the names."""
    return {
        str(path.relative_to(folder)): b"" if "log" in path.name else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "tensorboard"
    }


@pytest.fixture
def trained(run: Run) -> Path:
    return run("CoOp", "trained", **ONE_EPOCH)


@pytest.fixture
def copied_data(data: Path, tmp_path: Path) -> Path:
    return shutil.copytree(data, tmp_path / "data")


PICTURES = "caltech-101/101_ObjectCategories"


# -- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"OPTIM__LR": "0.1"}, r"OPTIM\.LR was 0\.0025 and is 0\.1"),
        ({"TRAINER__COOP__N_CTX": "3"}, r"TRAINER\.COOP\.N_CTX was 4 and is 3"),
        ({"TEST__FINAL_MODEL": "best_val"}, r"TEST\.FINAL_MODEL was 'last_step' and is 'best_val'"),
        ({"TEST__SPLIT": "val"}, r"TEST\.SPLIT was 'test' and is 'val'"),
        ({"DATASET__SUBSAMPLE_CLASSES": "base"}, r"SUBSAMPLE_CLASSES was 'all' and is 'base'"),
    ],
)
def test_a_refused_run_leaves_the_folder_as_it_was(
    settings: dict, says: str, run: Run, trained: Path
) -> None:
    before = content(trained)
    with pytest.raises(ValueError, match=says):
        run("CoOp", "trained", **ONE_EPOCH | settings)
    assert content(trained) == before


def test_a_test_does_not_overwrite_a_training(run: Run, trained: Path) -> None:
    before = content(trained)
    flags = ("--eval-only", "--model-dir", str(trained), "--load-epoch", "1")
    with pytest.raises(ValueError, match="holds a training run, whose results a test run would"):
        run("CoOp", "trained", *flags, **ONE_EPOCH)
    (trained / "run.json").unlink()  # as earlier versions left it
    with pytest.raises(ValueError, match="holds a training run"):
        run("CoOp", "trained", *flags, **ONE_EPOCH)
    assert content(trained) == {k: v for k, v in before.items() if k != "run.json"}


def test_a_training_does_not_overwrite_a_test(run: Run, trained: Path) -> None:
    tested = run("CoOp", "tested", "--eval-only", "--model-dir", str(trained), **ONE_EPOCH)
    before = content(tested)
    with pytest.raises(ValueError, match="holds a test run, whose results a training run would"):
        run("CoOp", "tested", **ONE_EPOCH)
    assert content(tested) == before


@pytest.mark.parametrize("exists", [True, False])
def test_a_run_that_cannot_be_built_leaves_nothing(exists: bool, run: Run, tmp_path: Path) -> None:
    if exists:
        (tmp_path / "deep/run").mkdir(parents=True)
        (tmp_path / "deep/run/console.txt").write_text("a user's")
    with pytest.raises(ValueError, match="takes images of"):
        run("CoOp", "deep/run", INPUT__SIZE="(64, 64)")
    left = [p.name for p in (tmp_path / "deep").rglob("*") if p.is_file()]
    assert left == (["console.txt"] if exists else [])
    assert (tmp_path / "deep").exists() == exists


def test_the_best_is_not_the_newest(run: Run, capsys: pytest.CaptureFixture) -> None:
    """NO_TEST validates no epoch; what is tested later must not pass for the best."""
    best = {**ONE_EPOCH, "TEST__FINAL_MODEL": "best_val"}
    run("CoOp", "run", TEST__NO_TEST="True", **best)
    with pytest.raises(ValueError, match=r"TEST\.NO_TEST was True and is False"):
        run("CoOp", "run", **best)
    # where nothing is chosen by validation, it changes nothing
    run("CoOp", "last", TEST__NO_TEST="True", **ONE_EPOCH)
    run("CoOp", "last", **ONE_EPOCH)


def test_a_test_killed_between_its_files_passes_for_no_other(run: Run, trained: Path, monkeypatch):
    """The manifest names the checkpoint that results are of, so that it comes last."""
    flags = ("--eval-only", "--model-dir", str(trained), "--load-epoch", "1")
    before = (run("CoOp", "tested", *flags, **ONE_EPOCH) / "manifest.json").read_bytes()
    (trained.parent / "tested/results.json").unlink()

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(prompt_trainer, "write_manifest", killed)
    with pytest.raises(Killed):
        run("CoOp", "tested", *flags, **ONE_EPOCH)
    assert (trained.parent / "tested/results.json").is_file()
    assert (trained.parent / "tested/manifest.json").read_bytes() == before


def test_the_file_to_share_holds_the_best_epoch(run: Run, monkeypatch) -> None:
    monkeypatch.setattr(CoOp, "test", lambda trainer, split=None: 10.0 - trainer.epoch)
    folder = run("CoOp", "run", TEST__FINAL_MODEL="best_val") / CoOp.checkpoint_name
    shared = checkpoints.load(folder / checkpoints.SHARED_FILE)
    best = checkpoints.load(folder / checkpoints.BEST_FILE)
    assert shared["epoch"] == best["epoch"] == 1
    assert_same(shared["state_dict"], best["state_dict"])


@pytest.mark.parametrize("finished", [False, True])
def test_without_its_config_a_run_is_still_of_its_settings(
    finished: bool, run: Run, tmp_path: Path, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        if not finished:
            kill_at(patch, "CoOp", STEPS_AN_EPOCH + 2)
        with nullcontext() if finished else pytest.raises(Killed):
            run("CoOp", "run")
    (tmp_path / "run/config.yaml").unlink()
    with pytest.raises(
        ValueError, match=r"another configuration: OPTIM\.LR was 0\.0025 and is 0\.5"
    ):
        run("CoOp", "run", OPTIM__LR="0.5")
    run("CoOp", "run")


@pytest.mark.parametrize("key", ["TRAINER__COPROMPT__DESCRIPTIONS", "MODEL__BACKBONE__NAME"])
def test_a_file_that_changes_under_its_name_is_noticed(
    key: str, run: Run, backbones: Path, tmp_path: Path
) -> None:
    """A run that went on would be of two files."""
    kinds = {"DESCRIPTIONS": Path("tests/fixtures/descriptions.json")}
    source = kinds.get(key.rpartition("__")[2], tiny_clip.write(backbones))
    file = tmp_path / f"named{source.suffix}"
    shutil.copyfile(source, file)
    trained = run("CoPrompt", "run", **ONE_EPOCH, **{key: str(file)})
    if source.suffix == ".json":
        file.write_text(source.read_text().replace(".", "!"))
    else:
        state = {
            k: v.flip(0) if v.ndim == 2 else v for k, v in tiny_clip.build().state_dict().items()
        }
        torch.save(state, file)
    before = content(trained)
    with pytest.raises(ValueError, match=rf"other content is in {key.replace('__', '.')} {file}"):
        run("CoPrompt", "run", **ONE_EPOCH, **{key: str(file)})
    assert content(trained) == before


# -- one writer --------------------------------------------------------------------------------------


def test_a_folder_has_one_writer(run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(run_folder, "PATIENCE", 0.1)
    (tmp_path / "run").mkdir()
    program = (
        "import filelock, sys\n"
        "with filelock.FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "run" / run_folder.LOCK_FILE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    before = content(tmp_path / "run")
    with pytest.raises(ValueError, match="another process is writing into"):
        run("CoOp", "run", **ONE_EPOCH)
    assert content(tmp_path / "run") == before
    holder.kill()
    holder.communicate()
    run("CoOp", "run", **ONE_EPOCH)


def test_what_killed_runs_left_is_removed(run: Run, trained: Path) -> None:
    left = [
        trained / ".results.json.a1b2c3d4",
        trained / "prompt_learner" / ".resume.pth.a1b2c3d4.partial",
    ]
    others = [trained / ".env.template", trained / "notes.partial"]
    for path in (*left, *others):
        path.write_text("half")
    run("CoOp", "trained", **ONE_EPOCH)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in others)


# -- pictures ----------------------------------------------------------------------------------------


def add(folder: Path) -> None:
    """One more picture, and the class is split anew."""
    shutil.copy(folder / PICTURES / "ant/image_0000.jpg", folder / PICTURES / "ant/new.jpg")
    path = folder / "caltech-101/split_zhou_Caltech101.json"
    split = json.loads(path.read_text())
    split["test"].append(["ant/new.jpg", 0, "ant"])
    path.write_text(json.dumps(split))


def replace(folder: Path) -> None:
    for path in (folder / PICTURES / "ant").glob("*.jpg"):
        path.write_bytes(path.read_bytes() + b"0")


def rename(folder: Path) -> None:
    path = folder / "caltech-101/split_zhou_Caltech101.json"
    for picture in sorted((folder / PICTURES / "ant").glob("image_*")):
        picture.rename(picture.with_name(f"re{picture.name}"))
    path.write_text(path.read_text().replace("ant/image", "ant/reimage"))


@pytest.mark.parametrize("change", [add, replace, rename])
@pytest.mark.parametrize("state", ["killed", "finished"])
def test_other_pictures_are_noticed(
    change, state: str, run: Run, copied_data: Path, tmp_path: Path, monkeypatch
) -> None:
    settings = {"DATASET__ROOT": str(copied_data), "OPTIM__MAX_EPOCH": "2"}
    with monkeypatch.context() as patch:
        if state == "killed":
            kill_at(patch, "CoOp", 8)
            with pytest.raises(Killed):
                run("CoOp", "run", **settings)
        else:
            run("CoOp", "run", **settings)
    before = content(tmp_path / "run")
    change(copied_data)
    with pytest.raises(ValueError, match=r"is of other pictures: .*'ant' \(\d then, \d now\)"):
        run("CoOp", "run", **settings)
    assert content(tmp_path / "run") == before


def test_moved_pictures_are_the_same(run: Run, trained: Path, copied_data: Path) -> None:
    run("CoOp", "trained", DATASET__ROOT=str(copied_data), **ONE_EPOCH)


def test_a_tested_folder_tells_of_other_pictures(
    run: Run, trained: Path, copied_data: Path
) -> None:
    flags = ("--eval-only", "--model-dir", str(trained))
    run("CoOp", "tested", *flags, DATASET__ROOT=str(copied_data), **ONE_EPOCH)
    replace(copied_data)
    with pytest.raises(ValueError, match="test: 'ant'"):
        run("CoOp", "tested", *flags, DATASET__ROOT=str(copied_data), **ONE_EPOCH)


# -- what earlier versions wrote ---------------------------------------------------------------------


def change_config(folder: Path, change) -> None:
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))


def test_only_the_own_node_is_kept_and_compared(run: Run, trained: Path) -> None:
    for name in ("config.yaml", "results.json", "manifest.json"):
        config = yaml.safe_load((trained / name).read_text())
        assert set(config.get("config", config)["TRAINER"]) == {"NAME", "COOP"}
    change_config(trained, lambda c: c["TRAINER"].update(OTHER={"N": 1}, IVLP={"N_CTX_TEXT": 77}))
    run("CoOp", "trained", **ONE_EPOCH)


def test_a_key_that_is_newer_than_the_folder_counts_as_its_default(run: Run, trained: Path) -> None:
    def forget(config: dict) -> None:
        del config["OPTIM"]["GAMMA"], config["TRAINER"]["COOP"]["CSC"], config["DATASET"]["CSV"]

    change_config(trained, forget)
    run("CoOp", "trained", **ONE_EPOCH)
    with pytest.raises(ValueError, match=r"TRAINER\.COOP\.CSC was False and is True"):
        run("CoOp", "trained", TRAINER__COOP__CSC="True", **ONE_EPOCH)


def test_results_of_two_versions_are_one_experiment() -> None:
    config = results.plain_config(results.default_config())
    config["TRAINER"] |= {"NAME": "CoOp", "OTHER": {"N": 1}}
    newer = json.loads(json.dumps(config))
    newer["TRAINER"] = {"NAME": "CoOp", "COOP": newer["TRAINER"]["COOP"]}
    del config["OPTIM"]["GAMMA"]
    assert results.differing_keys(config, newer) == []
    assert results.differing_keys(newer, config) == []
    newer["OPTIM"]["GAMMA"] = 0.5
    assert results.differing_keys(config, newer) == ["OPTIM.GAMMA was 0.1 and is 0.5"]


def test_a_run_goes_on_on_an_engine_without_our_engines_options() -> None:
    theirs = results.default_config()
    here = results.plain_config(theirs)
    del theirs.OPTIM["ADAM_EPS"]
    there = results.plain_config(theirs)
    assert results.differing_keys(here, there, theirs) == []
    assert results.differing_keys(there, here, theirs) == []
    here["OPTIM"]["ADAM_EPS"] = 1e-3
    assert results.differing_keys(here, there, theirs) == ["OPTIM.ADAM_EPS was 0.001 and is 1e-08"]


@pytest.mark.parametrize("name", ["config.yaml", "run.json"])
@pytest.mark.parametrize(
    "text",
    [
        *("", "OPTIM: {LR", "[1]", '{"pictures": [1], "kind": "training"}'),
        '{"pictures": {"test": {"ant": {"x": 1}}}, "kind": "training"}',
    ],
)
def test_damaged_records_are_named(name: str, text: str, run: Run, trained: Path) -> None:
    (trained / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name} is empty or damaged.*another --output-dir"):
        run("CoOp", "trained", **ONE_EPOCH)


# -- finding prompts ---------------------------------------------------------------------------------


def test_a_model_dir_one_level_too_deep_is_found(run: Run, trained: Path) -> None:
    flags = ("--eval-only", "--model-dir", str(trained / "prompt_learner"), "--load-epoch", "1")
    tested = run("CoOp", "tested", *flags, **ONE_EPOCH)
    accuracy = [json.loads((f / "results.json").read_text())["metrics"] for f in (tested, trained)]
    assert accuracy[0] == accuracy[1]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("..", r"is not the folder of a run, but holds 1 of them: .*trained"),
        ("prompt_learner/model.pth.tar-1", "is a file: give the folder of the run"),
        ("nowhere", "there is no folder .*nowhere"),
    ],
)
def test_a_wrong_model_dir_is_named(wrong: str, says: str, run: Run, trained: Path) -> None:
    with pytest.raises(ValueError, match=says):
        run("CoOp", "tested", "--eval-only", "--model-dir", str(trained / wrong), **ONE_EPOCH)


# -- names that cannot be printed --------------------------------------------------------------------


def test_names_that_are_not_utf8(run: Run, copied_data: Path) -> None:
    folder = copied_data / PICTURES
    (folder / "ant").rename(folder / "a\udcfft")
    path = copied_data / "caltech-101/split_zhou_Caltech101.json"
    path.write_text(path.read_text().replace('"ant/', '"a\\udcfft/'))
    settings = {"DATASET__ROOT": str(copied_data), **ONE_EPOCH}
    first = learned(run("CoOp", "run", **settings), 1)
    assert_same(learned(run("CoOp", "run", **settings), 1), first)


def test_no_resource_module(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """As on Windows."""
    from trainers import manifest

    monkeypatch.setattr(manifest, "resource", None)
    written = json.loads((run("CoOp", "run", **ONE_EPOCH) / "manifest.json").read_text())
    assert written["peak_memory_bytes"] == {}
