"""What every method has in common: kept class features, precision, small checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prompting import checkpoints

from .conftest import METHODS, READING, STEPPING, Run, learned


def step(trainer) -> None:
    """One training step on the first batch."""
    trainer.num_batches, trainer.batch_idx, trainer.epoch = 99, 0, 0
    trainer.set_model_mode("train")
    trainer.forward_backward(next(iter(trainer.train_loader_x)))
    trainer.set_model_mode("eval")


@torch.no_grad()
def infer(trainer) -> torch.Tensor:
    size = trainer.model.clip.resolution
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    return trainer.model_inference(images.to(trainer.device))


@pytest.mark.parametrize("method", STEPPING)
def test_inference_after_a_step_differs(method: str, build) -> None:
    trainer = build(method)
    trainer.set_model_mode("eval")
    before = infer(trainer)
    assert torch.equal(infer(trainer), before)
    step(trainer)
    assert not torch.equal(infer(trainer), before)


@pytest.mark.parametrize(
    "method", [m for m in READING if not METHODS[m].model_class.text_depends_on_image]
)
def test_class_features_are_computed_once_a_test(method: str, build, monkeypatch) -> None:
    trainer = build(method)
    trainer.set_model_mode("eval")
    calls = []
    encode = type(trainer.model).encode_classes
    monkeypatch.setattr(
        type(trainer.model), "encode_classes", lambda self: calls.append(1) or encode(self)
    )
    infer(trainer)
    infer(trainer)
    assert len(calls) == 1


def test_kept_class_features_are_dropped(build, run: Run) -> None:
    trained = run("PromptSRC", "trained")
    trainer = build("PromptSRC")
    trainer.set_model_mode("eval")
    before = infer(trainer)
    trainer.load_model(str(trained), epoch=3)
    loaded = infer(trainer)
    assert not torch.equal(loaded, before)
    with torch.no_grad():
        trainer.model.prompt_learner.ctx.copy_(torch.zeros_like(trainer.model.prompt_learner.ctx))
    assert not torch.equal(infer(trainer), loaded)


def test_loading_without_an_epoch_takes_the_newest(build, run: Run) -> None:
    trained = run("IVLP", "trained", TRAIN__CHECKPOINT_FREQ="1")
    trainer = build("IVLP")
    trainer.load_model(str(trained))
    assert torch.equal(
        trainer.model.prompt_learner.ctx.cpu(), learned(trained, 3)["prompt_learner.ctx"]
    )
    assert not torch.equal(
        learned(trained, 2)["prompt_learner.ctx"], learned(trained, 3)["prompt_learner.ctx"]
    )


@pytest.mark.parametrize("method", STEPPING)
def test_what_is_learned_stays_fp32_in_bf16(method: str, build) -> None:
    trainer = build(method, **{f"TRAINER__{METHODS[method].node}__PREC": "bf16"})
    assert trainer.model.clip.text.text_projection.dtype == torch.bfloat16
    trainer.set_model_mode("eval")
    reference = build(method)
    reference.set_model_mode("eval")
    trainer.set_learned(reference.learned.tensors())
    difference = infer(trainer) - infer(reference)
    assert difference.norm() < 0.1 * infer(reference).norm()
    step(trainer)
    for parameter in trainer.model.prompt_learner.parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="fp16 and amp need a CUDA device")
@pytest.mark.parametrize("precision", ["fp16", "amp"])
@pytest.mark.parametrize("method", STEPPING)
def test_half_precision_on_cuda(method: str, precision: str, build) -> None:
    trainer = build(method, **{f"TRAINER__{METHODS[method].node}__PREC": precision})
    step(trainer)
    for parameter in trainer.model.prompt_learner.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.isfinite().all()


@pytest.mark.parametrize("method", STEPPING)
def test_nothing_frozen_asks_for_gradients(method: str, build) -> None:
    trainer = build(method)
    step(trainer)
    assert all(p.grad is None and not p.requires_grad for p in trainer.model.clip.parameters())
    assert all(p.grad is not None for p in trainer.model.prompt_learner.parameters())


@pytest.mark.parametrize(
    ("method", "numbers"), [("CoOp", 2048), ("CoCoOp", 35360), ("PromptSRC", 46080)]
)
def test_learned_parameters_at_vit_b16_size(
    method: str, numbers: int, build, tmp_path: Path
) -> None:
    depth = {f"TRAINER__{method.upper()}__PROMPT_DEPTH_{side}": "9" for side in ("TEXT", "VISION")}
    trainer = build(method, "VIT-B/16", **(depth if method == "PromptSRC" else {}))
    assert sum(p.numel() for p in trainer.model.prompt_learner.parameters()) == numbers
    trainer.save_model(0, str(tmp_path))
    (path,) = tmp_path.glob("*/model.pth.tar-1")
    assert path.stat().st_size < 1_000_000


def test_resnet_backbone_trains_a_context(build) -> None:
    trainer = build("CoOp", "RESNET")
    statistics = trainer.model.clip.image.bn1.running_mean.clone()
    step(trainer)
    assert torch.equal(trainer.model.clip.image.bn1.running_mean, statistics)


def test_headers_are_plain_and_published_names_are_used(run: Run) -> None:
    output = run("PromptSRC", DATASET__SUBSAMPLE_CLASSES="base")
    checkpoint = torch.load(output / "VLPromptLearner" / "model.pth.tar-3", weights_only=True)
    assert set(checkpoint["state_dict"]) == {
        "prompt_learner.ctx",
        "image_encoder.VPT",
        "image_encoder.transformer.resblocks.1.VPT_shallow",
        "text_encoder.transformer.resblocks.1.VPT_shallow",
        "text_encoder.transformer.resblocks.2.VPT_shallow",
    }
    header = checkpoint["header"]
    assert header["method"] == "PromptSRC"
    assert header["dataset"] == "Caltech101"
    assert header["classnames"] == ["ant", "barrel", "cougar_face"]
    assert header["final"] is True
    assert checkpoints.load(output / "VLPromptLearner" / "model.pth.tar-3")["epoch"] == 3


def test_a_teacher_of_one_template_is_zero_shot_clip(build) -> None:
    one = build("PromptSRC", TRAINER__PROMPTSRC__TEACHER_TEMPLATES="1").model.teacher_text()
    with torch.no_grad():
        zero_shot = build("ZeroshotCLIP").model.encode_classes()
    torch.testing.assert_close(one, zero_shot, rtol=0, atol=1e-6)
    assert (build("PromptSRC").model.teacher_text() - zero_shot).abs().max() > 1e-3
