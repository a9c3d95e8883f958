"""A classifier made of a run gives the run's own labels, wherever the file is and whatever is asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.pictures import LONGEST_SIDE, too_large
from inference import Classifier
from prompting import checkpoints
from prompting.errors import InputError
from tests import tiny_clip
from tests.trainers.conftest import LEARNING, METHODS, READING, Run, Trained

from .conftest import BASE

OwnTest = Callable[[str, Path], tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture
def own_test(build) -> OwnTest:
    """Logits and labels of a trainer's own test of a run."""

    def compute(method: str, output: Path) -> tuple[torch.Tensor, torch.Tensor]:
        trainer = build(method, DATASET__SUBSAMPLE_CLASSES="base")
        trainer.load_model(str(output))
        trainer.set_model_mode("eval")
        with torch.no_grad():
            found = [
                (trainer.model_inference(batch["img"]), batch["label"])
                for batch in trainer.test_loader
            ]
        logits, labels = (torch.cat(part) for part in zip(*found, strict=True))
        return logits, labels

    return compute


def shared_file(output: Path) -> Path:
    (path,) = output.glob(f"*/{checkpoints.SHARED_FILE}")
    return path


@pytest.mark.parametrize("method", LEARNING)
def test_the_labels_are_those_of_the_runs_own_test(
    method: str, trained: Trained, own_test: OwnTest, pictures: list[Path], tmp_path: Path
) -> None:
    output = trained(method)
    logits, labels = own_test(method, output)
    # one that learns from a teacher was trained on all classes
    classifier = Classifier.load(output).with_classes(BASE)
    assert classifier.trained_classes[: len(BASE)] == BASE
    found = classifier.predict(pictures)
    assert [each.path for each in found] == list(map(str, pictures))
    assert torch.equal(classifier.logits(pictures), logits)
    assert [each.labels[0] for each in found] == logits.argmax(1).tolist()
    for each, row in zip(found, logits.softmax(1), strict=True):
        assert each.probabilities == tuple(row.sort(descending=True).values.tolist())
        assert each.names == tuple(BASE[label] for label in each.labels)
    correct = [each.labels[0] == label for each, label in zip(found, labels, strict=True)]
    results = json.loads((output / "results.json").read_text())
    assert results["metrics"]["accuracy"] == pytest.approx(100 * sum(correct) / len(correct))
    alone = Classifier.load(shutil.copy(shared_file(output), tmp_path)).with_classes(BASE)
    assert alone.method == method
    assert torch.equal(alone.logits(pictures), logits)


@pytest.fixture
def loaded(trained: Trained) -> Classifier:
    return Classifier.load(trained("IVLP"))


def test_features_are_normalised_and_give_the_logits(
    loaded: Classifier, pictures: list[Path]
) -> None:
    images, classes = loaded.encode_images(pictures), loaded.encode_classes()
    assert images.shape == (len(pictures), 64)
    assert classes.shape == (len(BASE), 64)
    for features in (images, classes):
        torch.testing.assert_close(features.norm(dim=1), torch.ones(len(features)))
    scale = loaded.model.clip.logit_scale.exp()
    torch.testing.assert_close(scale * images @ classes.t(), loaded.logits(pictures))


def test_what_is_in_memory_is_classified_as_the_file_is(
    loaded: Classifier, pictures: list[Path]
) -> None:
    image = Image.open(pictures[0]).convert("RGB")
    array = np.array(image)
    kinds = [
        str(pictures[0]),
        image,
        array,
        torch.tensor(array).permute(2, 0, 1),
        loaded.preprocessing.transform(image),
    ]
    found = loaded.predict(kinds, batch_size=1)
    assert {each.probabilities for each in found} == {found[0].probabilities}
    assert [each.path for each in found] == [str(pictures[0]), "", "", "", ""]
    assert loaded.predict(array) == loaded.predict([array])
    assert loaded.predict(pictures[0])[0].path == str(pictures[0])
    assert loaded.predict([]) == []
    grey = loaded.predict(np.array(image.convert("L")))
    assert grey[0].probabilities == loaded.predict(image.convert("L"))[0].probabilities


def write_header(path: Path, width: int, height: int) -> None:
    """A picture of that size by its first bytes."""
    path.write_bytes(b"BM" + bytes(12) + (40).to_bytes(4, "little"))
    sizes = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    with path.open("ab") as file:
        file.write(sizes + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24))


def test_what_cannot_be_read_is_said_in_its_place(
    loaded: Classifier, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    Image.new("RGB", (LONGEST_SIDE + 8000, 1)).save(tmp_path / "wide.png")
    write_header(tmp_path / "huge.bmp", 30_000, 29_000)
    write_header(tmp_path / "large.bmp", 10_000, 10_000)
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "floats.tiff")
    reasons = {
        tmp_path / "text.jpg": "damaged or not a picture",
        tmp_path / "wide.png": f"40000 x 1 pixels, more than {LONGEST_SIDE} on a side",
        tmp_path / "huge.bmp": "more than 178956970 pixels",
        tmp_path / "large.bmp": "10000 x 10000 pixels, more than the 89478485 that are read",
        tmp_path / "floats.tiff": "32-bit real numbers",
        tmp_path: "no ordinary file",
        tmp_path / "none.jpg": "No such file",
        "a\0b": "null",
    }
    others = [7, np.zeros((4, 4, 3)), torch.zeros(3, 8, 8), Image.new("F", (8, 8))]
    given = [pictures[0], *reasons, pictures[1], *others]
    found = loaded.predict(given, batch_size=4)
    readable = [each for each in found if not each.error]
    assert [each.path for each in readable] == list(map(str, pictures[:2]))
    assert [each.name for each in readable] == [p.name for p in loaded.predict(pictures[:2])]
    for each, reason in zip(found[1:], reasons.values(), strict=False):  # others follow
        assert reason in each.error
        assert each.name == ""
        assert len(each.error.splitlines()) == 1
    for each, reason in zip(
        found[-4:], ("it is int", "array of float64", "(3, 8, 8)", "mode F"), strict=True
    ):
        assert reason in each.error
    assert "32000 x 1 pixels, which is far too long" in too_large((32_000, 1))
    with pytest.raises(InputError, match=r"text.jpg cannot be read: it is damaged"):
        loaded.encode_images([tmp_path / "text.jpg"])


def test_workers_change_nothing_and_memory_holds_a_few(
    loaded: Classifier, pictures: list[Path], monkeypatch
) -> None:
    many = pictures * 3
    assert loaded.predict(many, batch_size=5, workers=2) == loaded.predict(many, batch_size=5)
    read = []
    real = type(loaded.preprocessing.transform).__call__
    monkeypatch.setattr(
        type(loaded.preprocessing.transform),
        "__call__",
        lambda self, image: read.append(1) or real(self, image),
    )
    stream = loaded.stream(pictures * 50, batch_size=4, workers=0)
    next(stream)
    assert len(read) == 4
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("method", READING)
def test_new_class_names(
    method: str, trained: Trained, own_test: OwnTest, pictures: list[Path]
) -> None:
    """Old ones again are those of the training; with new ones a head and a fused feature say so."""
    knows = METHODS[method].model_class.knows_trained_classes
    classifier = Classifier.load(trained(method)).with_classes(BASE)
    names = [BASE[2], "zebra", BASE[0]]
    if knows:
        with pytest.warns(UserWarning, match=rf"{method} knows more .* \(ant, barrel, cougar_face"):
            other = classifier.with_classes(names)
    else:
        other = classifier.with_classes(names)
    assert other.classes == names
    assert classifier.classes == BASE
    old, new = classifier.logits(pictures), other.logits(pictures)
    if not knows:
        torch.testing.assert_close(new[:, [2, 0]], old[:, [0, 2]])
    turned = classifier.with_classes(BASE[::-1]).logits(pictures)
    torch.testing.assert_close(turned, old.flip(1))
    with pytest.raises(InputError, match="are one to CLIP"):
        classifier.with_classes(["red_fox", "Red fox"])
    with pytest.raises(InputError, match="class name 2 of 2 is empty"):
        classifier.with_classes(["ant", " "])
    with pytest.raises(InputError, match="no class names"):
        classifier.with_classes([])
    with pytest.raises(InputError, match="expected a list"):
        classifier.with_classes("ant")


def test_class_specific_contexts_serve_their_classes_alone(run: Run) -> None:
    output = run(
        "CoOp", OPTIM__MAX_EPOCH="1", TRAINER__COOP__CSC="True", TRAINER__COOP__CTX_INIT=""
    )
    classifier = Classifier.load(output)
    assert classifier.with_classes(classifier.classes).classes == classifier.classes
    with pytest.raises(InputError, match="a context of its own"):
        classifier.with_classes(["zebra"])


def test_features_that_depend_on_the_picture_are_refused(trained: Trained) -> None:
    with pytest.raises(InputError, match=r"CoCoOp .* other ones for every picture"):
        Classifier.load(trained("CoCoOp")).encode_classes()


def test_zero_shot_needs_no_run(run: Run, backbones: Path, pictures: list[Path]) -> None:
    backbone, template = str(tiny_clip.write(backbones)), "a drawing of a {}."
    output = run(
        "ZeroshotCLIP",
        "zero",
        "--eval-only",
        DATASET__SUBSAMPLE_CLASSES="base",
        TRAINER__ZEROSHOT__TEMPLATE=template,
        INPUT__INTERPOLATION="bicubic",
        INPUT__PIXEL_MEAN="[0.48145466, 0.4578275, 0.40821073]",
        INPUT__PIXEL_STD="[0.26862954, 0.26130258, 0.27577711]",
    )
    classifier = Classifier.zero_shot(backbone, BASE, template)
    correct = [
        each.name == path.parent.name
        for each, path in zip(classifier.predict(pictures), pictures, strict=True)
    ]
    results = json.loads((output / "results.json").read_text())
    assert results["metrics"]["accuracy"] == pytest.approx(100 * sum(correct) / len(correct))
    other = Classifier.zero_shot(backbone, BASE)
    assert not torch.equal(other.logits(pictures), classifier.logits(pictures))
    with pytest.raises(InputError, match="neither a file nor a known CLIP"):
        Classifier.zero_shot("ViT-B/61", BASE)
    with pytest.raises(InputError, match="expected one, where the class name stands"):
        Classifier.zero_shot(backbone, BASE, "a photo")


def test_a_backbone_that_lies_elsewhere_is_given(
    trained: Trained, pictures: list[Path], backbones: Path, tmp_path: Path
) -> None:
    path = shutil.copy(shared_file(trained("IVLP")), tmp_path)
    checkpoint = checkpoints.load(Path(path))
    checkpoint["header"]["backbone_name"] = "/another/machine/clip.pt"
    checkpoints.save_prompts(Path(path), checkpoint)
    with pytest.raises(InputError, match=r"clip\.pt, which is not here: say where it is"):
        Classifier.load(path)
    backbone = tiny_clip.write(backbones)
    here = Classifier.load(path, backbone=str(backbone))
    expected = Classifier.load(trained("IVLP"))
    assert torch.equal(here.logits(pictures), expected.logits(pictures))
    with pytest.raises(InputError, match="was made for something else: backbone is"):
        Classifier.load(path, backbone=str(tiny_clip.write(backbones, seed=8)))


def test_loading_leaves_randomness_and_the_folder_alone(
    trained: Trained, capsys: pytest.CaptureFixture
) -> None:
    output = trained("PromptSRC")
    before = sorted(output.rglob("*"))
    capsys.readouterr()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    Classifier.load(output)
    assert torch.equal(torch.rand(1), expected)
    assert sorted(output.rglob("*")) == before
    assert capsys.readouterr().out == ""


def test_precision_is_that_of_the_training_where_the_device_has_it(trained: Trained) -> None:
    assert Classifier.load(trained("IVLP")).precision.name == "fp32"
    with pytest.raises(InputError, match="needs a CUDA device"):
        Classifier.load(trained("IVLP"), device="cpu", precision="fp16")
    with pytest.raises(InputError, match="expected cpu or cuda"):
        Classifier.load(trained("IVLP"), device="tpu")
