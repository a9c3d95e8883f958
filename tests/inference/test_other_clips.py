"""Runs on other people's CLIPs: trained, tested and put to use on the model's own terms."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

import predict
import train
from inference import Classifier
from prompting import checkpoints, prompted_teacher
from prompting.backbone import load_clip
from prompting.errors import InputError
from tests import other_clips, tiny_clip
from tests.other_clips import DEVIATION, MEAN
from tests.trainers.conftest import CLASSES, Run, accuracy

from .conftest import BASE

PAGE = Path(__file__).parents[2] / "docs" / "backbones.md"
WRITE = {
    "open_clip": lambda folder: other_clips.write_open_clip(folder, "heads of 80"),
    "transformers": other_clips.write_transformers,
}
SHORT = {
    "OPTIM__MAX_EPOCH": "1",
    "TRAINER__PROMPTSRC__GPA_MEAN": "1",
    "DATASET__SUBSAMPLE_CLASSES": "base",
}


@pytest.mark.parametrize("library", WRITE)
def test_promptsrc_trains_on_the_models_own_pictures(
    library: str, run: Run, pictures: list[Path], tmp_path: Path, capsys
) -> None:
    folder = WRITE[library](tmp_path / library)
    settings = {"MODEL__BACKBONE__NAME": str(folder), "INPUT__SIZE": "(224, 224)", **SHORT}
    output = run("PromptSRC", **settings)
    said = capsys.readouterr().out
    assert f"INPUT.PIXEL_MEAN {MEAN}, as the backbone says" in said
    assert f"normalization (mean={list(MEAN)}, std={list(DEVIATION)})" in said
    run("PromptSRC", **settings)
    assert "is finished: nothing is left to train" in capsys.readouterr().out
    classifier = Classifier.load(output)
    steps = classifier.preprocessing.steps
    assert (steps["mean"], steps["deviation"]) == (list(MEAN), list(DEVIATION))
    assert (steps["interpolation"], steps["centre_crop"]) == ("bicubic", [32, 32])
    found = [each.name for each in classifier.predict(pictures)]
    right = sum(name == BASE[place // 3] for place, name in enumerate(found))
    assert accuracy(output) == pytest.approx(100 * right / len(pictures))
    zero_shot = Classifier.zero_shot(str(folder), BASE)
    assert zero_shot.preprocessing.steps == steps
    other = {**settings, "INPUT__PIXEL_MEAN": "[0.1, 0.2, 0.3]"}
    with pytest.raises(InputError, match=r"takes \(0.5, 0.4, 0.3\): leave INPUT.PIXEL_MEAN out"):
        run("PromptSRC", "other", **other)


def test_an_activation_that_is_told_goes_along(run: Run, build, backbones: Path) -> None:
    """A checkpoint on a file that does not say it, in every later use of both."""
    backbone = str(tiny_clip.write(backbones))
    gelu = load_clip(backbone, "gelu")
    assert gelu.fingerprint != load_clip(backbone).fingerprint
    output = run("PromptSRC", MODEL__BACKBONE__ACTIVATION="gelu", **SHORT)
    assert Classifier.load(output).model.clip.fingerprint == gelu.fingerprint
    (path,) = output.glob("*/model.pth.tar-1")
    assert checkpoints.load(path)["header"]["backbone"] == gelu.fingerprint
    teacher = prompted_teacher.from_file(path, "", CLASSES)
    assert teacher.model.clip.fingerprint == gelu.fingerprint
    tested = ["--eval-only", "--model-dir", str(output)]
    with pytest.raises(InputError, match=r"backbone is '.*' in the file and '.*' here"):
        run("PromptSRC", "quick", *tested, **SHORT)
    options = {"TRAINER__PROMPTKD__TEACHER": "zero-shot", "MODEL__BACKBONE__ACTIVATION": "gelu"}
    assert build("PromptKD", **options).teacher.model.clip.fingerprint == gelu.fingerprint


def test_zero_shot_clip_is_told_its_activation(backbones: Path, pictures: list[Path]) -> None:
    backbone = str(tiny_clip.write(backbones))
    quick, gelu = (
        Classifier.zero_shot(backbone, BASE, activation=each) for each in ("quick_gelu", "gelu")
    )
    assert not torch.allclose(quick.encode_classes(), gelu.encode_classes(), atol=1e-4)
    assert gelu.model.clip.notes == ()
    assert "does not say its activation" in Classifier.zero_shot(backbone, BASE).model.clip.notes[0]


def test_the_commands_of_the_page_run(
    data: Path, pictures: list[Path], tmp_path: Path, capsys
) -> None:
    """docs/backbones.md, on a small model and with less to train."""
    install, names, *others = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert install == "pip install -r requirements-open-clip.txt\n"
    assert (PAGE.parents[1] / "requirements-open-clip.txt").is_file()
    assert re.findall(r"^(\w+)=", names, re.MULTILINE) == ["CLIP", "PICTURES"]
    folder = other_clips.write_transformers(tmp_path / "clip")
    torch.save(tiny_clip.build().state_dict(), folder / "model.pt")
    given = {"$CLIP": str(folder), "$PICTURES": str(pictures[0].parents[1])}
    less = ["OPTIM.MAX_EPOCH", "1", "DATALOADER.NUM_WORKERS", "0"]
    for key, value in {"GPA_MEAN": 1, "PROMPT_DEPTH_TEXT": 3, "PROMPT_DEPTH_VISION": 2}.items():
        less += [f"TRAINER.PROMPTSRC.{key}", str(value)]
    lines = "".join(others).replace("\\\n", " ")
    for name, value in {**given, "--root data": f"--root {data}"}.items():
        lines = lines.replace(name, value)
    lines = lines.replace("output/other", str(tmp_path / "other"))
    for line in lines.splitlines():
        python, script, *words = shlex.split(line)
        assert python == "python"
        run_it = {"predict.py": predict.main, "train.py": train.main}[script]
        run_it(words + (less if script == "train.py" else []))
    assert "PromptSRC on" in capsys.readouterr().err
