"""What users get wrong: every message names what was wrong, what was expected and what to do."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from tests import tiny_clip

from .conftest import Run


@pytest.fixture
def copied_data(data: Path, tmp_path: Path) -> Path:
    """A copy of the data that a test may spoil."""
    return shutil.copytree(data, tmp_path / "data")


def test_unknown_trainer(run: Run) -> None:
    with pytest.raises(ValueError, match="PromptSRC"):
        run("PromtSRC")


def test_unknown_dataset(run: Run) -> None:
    with pytest.raises(ValueError, match="Caltech101"):
        run("CoOp", DATASET__NAME="Caltech11")


def test_missing_data_root(run: Run, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.* does not exist"):
        run("CoOp", DATASET__ROOT=str(tmp_path / "nowhere"))


def test_missing_image(run: Run, copied_data: Path) -> None:
    (copied_data / "caltech-101/101_ObjectCategories/ant/image_0000.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"ant/image_0000\.jpg"):
        run("CoOp", DATASET__ROOT=str(copied_data))


@pytest.mark.parametrize("workers", ["0", "1"])
def test_corrupt_image_is_named(run: Run, copied_data: Path, workers: str) -> None:
    image = copied_data / "caltech-101/101_ObjectCategories/ant/image_0007.jpg"
    image.write_bytes(image.read_bytes()[:100])
    with pytest.raises(Exception, match=r"ant/image_0007\.jpg"):
        run(
            "ZeroshotCLIP",
            "run",
            "--eval-only",
            DATASET__ROOT=str(copied_data),
            DATALOADER__NUM_WORKERS=workers,
        )


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--model-dir", "output"], "--model-dir output is what --eval-only tests"),
        (
            ["--eval-only", "--load-epoch", "5"],
            "--load-epoch 5 is of the checkpoints in --model-dir",
        ),
    ],
)
def test_flags_that_say_nothing_alone_are_refused(flags: list[str], says: str, run: Run) -> None:
    with pytest.raises(ValueError, match=says):
        run("CoOp", "run", *flags)


def test_settings_of_other_methods_are_said_to_be_read_by_none(run: Run, capsys) -> None:
    run(
        "CoOp",
        "run",
        OPTIM__MAX_EPOCH="1",
        TRAINER__IVLP__CTX_INIT="an image of",
        TRAINER__COOP__CSC="True",
    )
    assert (
        "CoOp does not read other methods' settings: TRAINER.IVLP.CTX_INIT\n"
        in capsys.readouterr().out
    )


def test_a_run_of_another_method_is_named_by_where_its_checkpoints_are(
    run: Run, trained: Path
) -> None:
    with pytest.raises(
        ValueError, match=r"run of another method: its checkpoints lie in VLPromptLearner/"
    ):
        run("CoOp", "tested", "--eval-only", "--model-dir", str(trained))


def test_new_classes_that_were_trained_on_are_refused(
    run: Run, tmp_path: Path, copied_data: Path
) -> None:
    """A class that came in between shifts the halves."""
    options = {"OPTIM__MAX_EPOCH": "1", "DATASET__ROOT": str(copied_data)}
    base = run("CoOp", "base", DATASET__SUBSAMPLE_CLASSES="base", **options)
    flags = ("--eval-only", "--model-dir", str(base))
    run("CoOp", "new", *flags, DATASET__SUBSAMPLE_CLASSES="new", **options)
    path = copied_data / "caltech-101/split_zhou_Caltech101.json"
    split = json.loads(path.read_text())
    moved = {
        name: [[p, (label + 2) % 6, c] for p, label, c in rows] for name, rows in split.items()
    }
    path.write_text(json.dumps(moved))
    with pytest.raises(
        ValueError, match=r"was trained on barrel; cougar_face, .* among the new classes"
    ):
        run("CoOp", "moved", *flags, DATASET__SUBSAMPLE_CLASSES="new", **options)


def test_without_a_configuration_the_backbone_is_missing(run: Run) -> None:
    with pytest.raises(ValueError, match="no backbone is named: give --config-file"):
        run("CoOp", "run", MODEL__BACKBONE__NAME="")


def test_fewer_words_than_context_vectors(run: Run) -> None:
    with pytest.raises(ValueError, match="has 2 tokens, fewer than the 4 context vectors"):
        run("PromptSRC", TRAINER__PROMPTSRC__CTX_INIT="a photo")


def test_class_name_that_does_not_fit(run: Run, copied_data: Path) -> None:
    path = copied_data / "caltech-101/split_zhou_Caltech101.json"
    path.write_text(path.read_text().replace('"ewer"', f'"{"ewer " * 80}"'))
    with pytest.raises(ValueError, match="does not fit into CLIP's 77 tokens"):
        run("CoOp", DATASET__ROOT=str(copied_data))


def test_input_size_that_is_not_the_backbones(run: Run) -> None:
    with pytest.raises(ValueError, match=r"INPUT.SIZE is \(48, 48\).*takes images of 32 x 32"):
        run("CoOp", INPUT__SIZE="(48, 48)")


def test_output_folder_of_another_configuration(run: Run) -> None:
    output = run("CoOp", OPTIM__MAX_EPOCH="1")
    before = sorted(output.rglob("model*"))
    with pytest.raises(ValueError, match=r"OPTIM.LR was 0.0025 and is 0.1"):
        run("CoOp", OPTIM__MAX_EPOCH="1", OPTIM__LR="0.1")
    assert sorted(output.rglob("model*")) == before


def test_keys_that_do_not_make_another_experiment(run: Run) -> None:
    run("CoOp", OPTIM__MAX_EPOCH="1")
    run("CoOp", OPTIM__MAX_EPOCH="1", DATALOADER__NUM_WORKERS="1", TRAIN__PRINT_FREQ="1")


def test_unknown_backbone_lists_what_is_there(run: Run) -> None:
    with pytest.raises(ValueError, match=r"did you mean 'ViT-B/16'.*RN101") as error:
        run("CoOp", MODEL__BACKBONE__NAME="ViTB/16")
    assert "ViT-L/14@336px" in str(error.value)


def test_backbone_file_that_is_no_clip(run: Run, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="does not hold a CLIP in OpenAI layout"):
        run("CoOp", MODEL__BACKBONE__NAME=str(tmp_path / "other.pt"))


def test_truncated_backbone(run: Run, backbones: Path, tmp_path: Path) -> None:
    whole = tiny_clip.write(backbones).read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.pt cannot be read"):
        run("CoOp", MODEL__BACKBONE__NAME=str(tmp_path / "half.pt"))


@pytest.mark.parametrize("method", ["IVLP", "PromptSRC"])
def test_deep_vision_prompts_on_a_resnet(method: str, run: Run, backbones: Path) -> None:
    resnet = str(tiny_clip.write(backbones, "RESNET", 11))
    with pytest.raises(ValueError, match="is a ResNet, and deep vision prompts need"):
        run(method, MODEL__BACKBONE__NAME=resnet, INPUT__SIZE="(64, 64)")


@pytest.mark.parametrize("precision", ["fp16", "amp"])
def test_half_precision_on_a_cpu_is_refused(run: Run, precision: str) -> None:
    with pytest.raises(ValueError, match=f"PREC {precision} needs a CUDA device"):
        run("CoOp", TRAINER__COOP__PREC=precision, USE_CUDA="False")


def test_unknown_precision(run: Run) -> None:
    with pytest.raises(ValueError, match="choose one of fp32, fp16, amp, bf16"):
        run("CoOp", TRAINER__COOP__PREC="fp8")


def test_text_depth_below_one(run: Run) -> None:
    with pytest.raises(ValueError, match="PROMPT_DEPTH_TEXT is 0: expected at least 1"):
        run("IVLP", TRAINER__IVLP__PROMPT_DEPTH_TEXT="0")


@pytest.mark.parametrize(
    ("method", "key", "value", "expected"),
    [
        ("CoOp", "COOP.N_CTX", "-1", "at least 1"),
        ("CoCoOp", "COCOOP.N_CTX", "0", "at least 1"),
        ("IVLP", "IVLP.N_CTX_VISION", "0", "at least 1"),
        ("IVLP", "IVLP.N_CTX_VISION", "10001", "at most 10000"),
        ("CoOp", "COOP.N_CTX", "1000000000", "at most 10000"),
        ("PromptSRC", "PROMPTSRC.GPA_STD", "-1", "more than 0"),
        ("PromptSRC", "PROMPTSRC.GPA_STD", "0", "more than 0"),
        ("PromptSRC", "PROMPTSRC.TEXT_LOSS_WEIGHT", "-3", "at least 0"),
        ("KgCoOp", "KGCOOP.WEIGHT", "-0.5", "at least 0"),
        ("ProGrad", "PROGRAD.TEMPERATURE", "0", "more than 0"),
        ("MMRL", "MMRL.ALPHA", "1.5", "at most 1"),
        ("DePTCoOp", "DEPT.HEAD_WEIGHT", "2", "at most 1"),
        ("DePTCoOp", "COOP.N_CTX", "0", "at least 1"),
        ("DePTPromptSRC", "PROMPTSRC.GPA_STD", "0", "more than 0"),
        ("CoPrompt", "COPROMPT.DISTILL", "huber", "one of cosine, mse"),
        ("TCP", "TCP.LAYER", "4", "0 to 3, layers of the text encoder"),
        ("TCP", "TCP.CTX_INIT", "a photo", "as many words as N_CTX says, 4, or none"),
        ("MMRL", "MMRL.REP_LAYERS", "[4, 5]", "some of 1 to 4 in rising order"),
        ("MMRL", "MMRL.REP_LAYERS", "[4, 3]", "some of 1 to 4 in rising order"),
        ("MMRL", "MMRL.REP_LAYERS", "[0, 3]", "some of 1 to 4 in rising order"),
        ("MMRL", "MMRL.REP_LAYERS", "[]", "some of 1 to 4 in rising order"),
        ("MMRL", "MMRL.REP_LAYERS", "['x']", "some of 1 to 4 in rising order"),
        ("MMRL", "MMRL.REP_LAYERS", "[[3], 4]", "some of 1 to 4 in rising order"),
        ("MultiModalAdapter", "MMADAPTER.ADAPTER_START", "-1", "at least 0"),
        ("MultiModalAdapter", "MMADAPTER.ADAPTER_END", "5", r"ADAPTER_START, which is \d, to 4"),
    ],
)
def test_options_out_of_range(run: Run, method: str, key: str, value: str, expected: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{re.escape(key)} is {re.escape(value)}(\.0)?: expected {expected}"
    ):
        run(method, **{f"TRAINER__{key.replace('.', '__')}": value})


def test_a_template_with_two_places_for_the_name(run: Run) -> None:
    with pytest.raises(ValueError, match=r"has 2 \{\}: expected one"):
        run("ZeroshotCLIP", "run", "--eval-only", TRAINER__ZEROSHOT__TEMPLATE="{} {}")


@pytest.mark.parametrize("template", ["x", "{} {}", "a " * 80 + "{}"])
def test_a_teacher_that_cannot_be_asked_leaves_nothing(
    run: Run, tmp_path: Path, template: str
) -> None:
    with pytest.raises(ValueError, match=r"expected one|context length|tokens"):
        run("KgCoOp", "refused", TRAINER__KGCOOP__TEMPLATE=template)
    assert not list(tmp_path.rglob("refused/*"))


def test_a_teachers_template_is_held_to_the_models_own_length(
    run: Run, backbones: Path, tmp_path: Path
) -> None:
    short = tiny_clip.write(backbones, "SHORT", 0, tiny_clip.SIZES["VIT"] | {"context_length": 20})
    of_model = {"MODEL__BACKBONE__NAME": str(short)}
    with pytest.raises(ValueError, match=r"20"):
        run("KgCoOp", "refused", TRAINER__KGCOOP__TEMPLATE="a " * 20 + "{}", **of_model)
    assert not list(tmp_path.rglob("refused/*"))


@pytest.mark.parametrize("views", ["0", "2"])
def test_more_views_than_a_method_takes(run: Run, views: str) -> None:
    with pytest.raises(ValueError, match="K_TRANSFORMS"):
        run("CoOp", DATALOADER__K_TRANSFORMS=views)


def test_zero_shot_cannot_be_trained(run: Run) -> None:
    with pytest.raises(ValueError, match="run it with --eval-only"):
        run("ZeroshotCLIP")


def test_gaussian_beyond_all_epochs(run: Run) -> None:
    with pytest.raises(ValueError, match="gives no weight to any of the epochs 1 to 3"):
        run("PromptSRC", TRAINER__PROMPTSRC__GPA_MEAN="300")


def evaluate(run: Run, method: str, trained: Path, **settings: str) -> None:
    run(
        method,
        "evaluated",
        "--eval-only",
        "--model-dir",
        str(trained),
        "--load-epoch",
        "1",
        **settings,
    )


@pytest.fixture
def trained(run: Run) -> Path:
    return run("PromptSRC", "trained", OPTIM__MAX_EPOCH="1", TRAINER__PROMPTSRC__GPA_MEAN="1")


def test_checkpoint_of_another_depth(run: Run, trained: Path) -> None:
    with pytest.raises(ValueError, match=r"prompt_depth_vision is 2 in the file and 3 here"):
        evaluate(run, "PromptSRC", trained, TRAINER__PROMPTSRC__PROMPT_DEPTH_VISION="3")


def test_checkpoint_of_another_context_length(run: Run, trained: Path) -> None:
    with pytest.raises(ValueError, match=r"context_length_text is 4 in the file and 3 here"):
        evaluate(run, "PromptSRC", trained, TRAINER__PROMPTSRC__N_CTX_TEXT="3")


def test_checkpoint_of_another_method(run: Run, trained: Path) -> None:
    with pytest.raises(ValueError, match=r"method is 'PromptSRC' in the file and 'IVLP' here"):
        evaluate(run, "IVLP", trained)


def test_checkpoint_of_another_backbone(run: Run, trained: Path, backbones: Path) -> None:
    other = str(tiny_clip.write(backbones, seed=8))
    with pytest.raises(ValueError, match=r"backbone is '.*' in the file and '.*' here"):
        evaluate(run, "PromptSRC", trained, MODEL__BACKBONE__NAME=other)


def test_backbone_moved_to_another_path(run: Run, trained: Path, backbones: Path) -> None:
    moved = shutil.copy(tiny_clip.write(backbones), backbones / "moved.pt")
    evaluate(run, "PromptSRC", trained, MODEL__BACKBONE__NAME=str(moved))


def test_truncated_checkpoint(run: Run, trained: Path) -> None:
    path = trained / "VLPromptLearner" / "model.pth.tar-1"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"model\.pth\.tar-1 cannot be read.*truncated"):
        evaluate(run, "PromptSRC", trained)


def test_missing_checkpoint_lists_what_is_there(run: Run, trained: Path) -> None:
    flags = ("--eval-only", "--model-dir", str(trained), "--load-epoch", "7")
    with pytest.raises(ValueError, match=r"no checkpoint .*tar-7; .* holds model\.pth\.tar-1"):
        run("PromptSRC", "evaluated", *flags)


def test_class_specific_contexts_serve_no_other_classes(run: Run) -> None:
    settings = {"TRAINER__COOP__CSC": "True", "TRAINER__COOP__CTX_INIT": ""}
    settings["OPTIM__MAX_EPOCH"] = "1"
    trained = run("CoOp", "trained", DATASET__SUBSAMPLE_CLASSES="base", **settings)
    with pytest.raises(
        ValueError, match=r"classnames is .*'ant'.* in the file and .*'ferry'.* here"
    ):
        evaluate(run, "CoOp", trained, DATASET__SUBSAMPLE_CLASSES="new", **settings)


def test_configuration_file_that_is_not_there(run: Run) -> None:
    with pytest.raises(FileNotFoundError, match=r"no configuration .*vit_b16_ctxv1"):
        run("CoOp", "run", "--config-file", "configs/trainers/CoOp/vit_b17.yaml")


def test_weights_and_gaussian_take_whole_and_broken_numbers(run: Run) -> None:
    output = run(
        "PromptSRC",
        OPTIM__MAX_EPOCH="1",
        TRAINER__PROMPTSRC__TEXT_LOSS_WEIGHT="12.5",
        TRAINER__PROMPTSRC__GPA_MEAN="1",
    )
    config = json.loads((output / "results.json").read_text())["config"]["TRAINER"]["PROMPTSRC"]
    assert (config["TEXT_LOSS_WEIGHT"], config["GPA_MEAN"]) == (12.5, 1.0)


@pytest.mark.parametrize("number", ["0", "61"])
def test_more_teacher_templates_than_there_are(run: Run, number: str) -> None:
    with pytest.raises(ValueError, match=f"TEACHER_TEMPLATES is {number}: expected 1 to 60"):
        run("PromptSRC", TRAINER__PROMPTSRC__TEACHER_TEMPLATES=number)


@pytest.mark.parametrize(
    ("options", "flags", "message"),
    [
        ({"TEST__SPLIT": "val"}, ["--eval-only"], 'no split "val" of Caltech101'),
        ({"TEST__SPLIT": "vall"}, ["--eval-only"], r'TEST.SPLIT is "vall".*"val"'),
        ({"TEST__SPLIT": "train"}, [], 'TEST.SPLIT is "train"'),
        ({"TEST__SPLIT": "val"}, [], "Caltech101 has no validation images"),
        ({"TEST__FINAL_MODEL": "best_val"}, [], "TEST.FINAL_MODEL is best_val.*no validation"),
        ({"TEST__FINAL_MODEL": "bestval"}, [], 'do you mean "best_val"'),
        ({"OPTIM__MAX_EPOCH": "0"}, [], "OPTIM.MAX_EPOCH is 0"),
        ({"INPUT__PIXEL_MEAN": "0.5"}, [], "INPUT.PIXEL_MEAN .*expected 3 numbers"),
        ({"TRAIN__PRINT_FREQ": "0"}, [], "TRAIN.PRINT_FREQ is 0"),
        ({"MODEL__INIT_WEIGHTS": "nowhere.pth"}, [], "nowhere.pth"),
    ],
)
def test_options_that_would_measure_something_else_are_refused(
    run: Run, copied_data: Path, tmp_path: Path, options: dict, flags: list, message: str
) -> None:
    path = copied_data / "caltech-101/split_zhou_Caltech101.json"
    split = json.loads(path.read_text())
    path.write_text(json.dumps({**split, "val": []}))
    with pytest.raises(ValueError, match=message) as error:  # the engine has an InputError too
        run("CoOp", "refused", *flags, DATASET__ROOT=str(copied_data), **options)
    assert "InputError" in {one.__name__ for one in type(error.value).__mro__}
    assert not (tmp_path / "refused" / "results.json").exists()
    assert not list(tmp_path.glob("refused/*/model*"))


def test_pictures_without_transforms(run: Run) -> None:
    with pytest.raises(ValueError, match=r"INPUT\.NO_TRANSFORM is True: .* leave it False"):
        run("CoOp", INPUT__NO_TRANSFORM="True")
