"""The benchmark runner, and that what makes the encoders fast leaves every figure as it was."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from benchmarks import costs, measure, run, subject
from prompting import packing, text_encoder
from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate
from prompting.precision import Precision
from prompting.steering import TextSteering
from prompting.transformer import LayerNorm, QuickGELU
from tests import tiny_clip

CPU = torch.device("cpu")
TINY = tiny_clip.SIZES["VIT"]
DEPTH = ("TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION", 4, "TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT", 4)
KEYS = (
    "method work classes batch precision device ours plain floor unit times_faster times_floor "
    "launches waits note"
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few runs of little work."""
    monkeypatch.setattr(measure, "PATIENCE", 0.0)
    monkeypatch.setattr(run, "TESTED_IMAGES", 4)


# -- the runner -------------------------------------------------------------------------------------


WORKS = ("text_encoder", "build", "train_step", "test", "checkpoint_bytes", "checkpoint_save")


@pytest.mark.parametrize(
    ("method", "work"),
    [
        (method, work)
        for method in subject.BATCH
        for work in WORKS
        if (method, work) != ("CoCoOp", "text_encoder")  # no text features without an image
    ],
)
def test_every_method_and_work_gives_a_row(method: str, work: str, small: None) -> None:
    row = run.Row(method, work, 3, 2, "fp32", "cpu", unit=run.UNITS[work])
    run.run(row, CPU, TINY)
    assert row.ours > 0
    assert row.plain > 0
    assert (row.floor is not None) == (work in ("train_step", "test"))
    assert row.waits == (1 if work == "train_step" else None)
    ratio = row.plain / row.ours
    assert row.times_faster == pytest.approx(1 / ratio if work == "test" else ratio)


def test_the_json_and_the_table(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(run.run, "__defaults__", (TINY,))
    file = tmp_path / "figures.json"
    run.main(["--only", "CoOp:train_step:12", "CoOp:checkpoint_bytes:12", "--json", str(file)])
    figures = json.loads(file.read_text())
    assert set(figures) == {"machine", "rows"}
    assert [row["work"] for row in figures["rows"]] == ["train_step"] * 2 + ["checkpoint_bytes"]
    assert [row["precision"] for row in figures["rows"]] == ["fp32", "bf16", "fp32"]
    assert all(list(row) == KEYS.split() for row in figures["rows"])
    assert "| CoOp" in capsys.readouterr().out


def test_the_quick_suite_holds_what_it_must() -> None:
    rows = {(r.method, r.work, r.classes, r.precision) for r in run.suite("quick", CPU)}
    for classes in (50, 500):
        assert ("PromptSRC", "text_encoder", classes, "fp32") in rows
        assert ("PromptSRC", "train_step", classes, "fp32") in rows
        assert ("PromptSRC", "train_step", classes, "bf16") in rows


def test_the_full_suite_has_every_method_work_and_class_count() -> None:
    rows = run.suite("full", CPU)
    assert {r.method for r in rows} == set(subject.BATCH)
    assert {r.work for r in rows} == set(run.UNITS)
    assert {r.classes for r in rows} == {0, *run.CLASSES}
    assert [f.name for f in fields(run.Row)] == KEYS.split()
    assert all(asdict(row)["unit"] for row in rows)


def test_an_unknown_row_is_refused_with_what_there_is(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run.main(["--only", "CoOp:speed:50"])
    assert "there is no row CoOp:speed:50: expected METHOD:WORK:CLASSES" in capsys.readouterr().err


def test_plain_is_skipped_with_the_reason_where_it_cannot_fit(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "free_memory", lambda device: 10**6)
    row = run.Row("CoOp", "train_step", 12, 2, "fp32", "cpu", unit="s")
    run.run(row, CPU, TINY)
    assert row.ours > 0
    assert row.plain is None
    assert row.times_faster is None
    assert row.note.startswith("plain skipped: needs about")


def test_a_failed_child_is_reported_with_its_error() -> None:
    with pytest.raises(RuntimeError, match="invalid choice: 'nothing'"):
        measure.in_child("benchmarks.memory", "nothing", "CoOp", 12, 1, "fp32", "cpu")


def test_peak_memory_sees_what_is_taken_and_given_back() -> None:
    measure.reset_peak_memory(CPU)
    before = measure.peak_memory(CPU)
    torch.ones(50_000_000)
    assert 150e6 < measure.peak_memory(CPU) - before < 400e6


def test_slow_paths_run_in_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"slow": 40.0, "fast": 0.1}
    runs = []
    monkeypatch.setattr(measure, "_timed", lambda path, device: path())
    paths = {name: lambda name=name: runs.append(name) or clock[name] for name in clock}
    assert measure.interleaved(paths, CPU) == clock
    assert (runs.count("slow"), runs.count("fast")) == (2, 1 + 7)


# -- the two paths compute the same -----------------------------------------------------------------


@pytest.mark.parametrize("method", subject.BATCH)
def test_ours_and_plain_take_the_same_step(method: str, tmp_path: Path) -> None:
    """Same start, same batch: same losses over three steps, so gradients and updates agree."""
    ours = subject.build_ours(method, 12, "fp32", CPU, tmp_path, TINY)
    plain = subject.build_plain(method, 12, CPU, TINY)
    ours.trainer.optim.param_groups[0].update(plain.optimizer.defaults)
    learned = [p for p in plain.parameters() if p.requires_grad]
    own = list(ours.model.prompt_learner.parameters())
    layers = TINY["transformer_layers"]
    with torch.no_grad():
        plain.deep_text = plain.deep_text[: layers - 1]
        plain.deep_image = plain.deep_image[:layers]
        learned = [plain.ctx, *plain.deep_text, *plain.deep_image]
        learned += list(plain.meta_net.parameters()) if method == "CoCoOp" else []
        for theirs, value in zip(learned, own, strict=True):
            theirs.copy_(value)
        if ours.teacher:
            plain.teacher_text = ours.model.teacher_text()
    batch = subject.images_and_labels(3, 12, TINY, CPU)
    for _ in range(3):
        assert ours.step(*batch) == pytest.approx(plain.step(*batch), rel=1e-5)


# -- each optimisation is exact ---------------------------------------------------------------------

NAMES = subject.class_names(40)
OURS = CLIP(tiny_clip.build().state_dict())


def features_and_gradients(clip: CLIP, names: list[str], sets: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    context = (0.3 * torch.randn(sets, 4, 128, generator=generator)).requires_grad_()
    deep = [(0.3 * torch.randn(4, 128, generator=generator)).requires_grad_() for _ in range(3)]
    prompts = PromptTemplate("a photo of a {}.", 4).layout(names)
    steering = TextSteering(context=context, prompts=dict(enumerate(deep, start=1)))
    features = clip.text(prompts, steering)
    weights = torch.linspace(-1, 1, features.numel()).view_as(features)
    return [features, *torch.autograd.grad((features.float() * weights).sum(), [context, *deep])]


def close(values: list[torch.Tensor], expected: list[torch.Tensor], bound: float) -> bool:
    return all((v - e).norm() <= bound * e.norm() for v, e in zip(values, expected, strict=True))


def test_recomputing_layers_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = features_and_gradients(OURS, NAMES)
    calls = []
    recompute = text_encoder.checkpoint
    monkeypatch.setattr(text_encoder, "RECOMPUTE_ABOVE", 10)
    monkeypatch.setattr(
        text_encoder, "checkpoint", lambda *a, **k: calls.append(a) or recompute(*a, **k)
    )
    recomputed = features_and_gradients(OURS, NAMES)
    assert len(calls) == TINY["transformer_layers"] - 1
    assert all(torch.equal(a, b) for a, b in zip(kept, recomputed, strict=True))


@pytest.mark.parametrize("row", [1, 20, 64, 500])
def test_the_length_of_rows_does_not_matter(row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = features_and_gradients(OURS, NAMES)
    monkeypatch.setattr(packing, "ROW", row)
    assert close(features_and_gradients(OURS, NAMES), expected, 1e-5)


def test_a_class_does_not_depend_on_the_others_in_its_row() -> None:
    together = features_and_gradients(OURS, NAMES)[0]
    names = ["an unrelated name of many tokens", *NAMES[3:8], "x"]
    apart = features_and_gradients(OURS, names)[0]
    torch.testing.assert_close(apart[:, 1:6], together[:, 3:8], rtol=1e-5, atol=1e-5)


def test_rows_hold_every_token_once_and_little_padding() -> None:
    prompts = PromptTemplate("a photo of a {}.", 4).layout(subject.class_names(500))
    rows = prompts.rows
    assert rows.count * rows.length <= 1.03 * len(prompts.suffix)
    assert len(rows.place.unique()) == len(prompts.suffix)
    # a token sees the prefix and its own class up to itself, so its position says how many
    bias, _ = rows.biases(len(prompts.prefix), torch.float32)
    seen = (bias == 0).sum(-1).flatten()
    real = seen[rows.last] == prompts.position[prompts.last] + 1
    assert bool(real.all())
    assert torch.equal(rows.suffix[rows.last], prompts.suffix[prompts.last])


def test_rows_are_never_overfull() -> None:
    lengths = [3, 9, 1, 4, 4, 7, 2, 9, 5]
    packed = packing._pack(lengths, 10)
    assert sorted(index for row in packed for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= 10 for row in packed)
    assert len(packed) == 5  # 44 tokens


def test_quick_gelu_and_its_gradient() -> None:
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64, requires_grad=True)
    expected = x * torch.sigmoid(1.702 * x)
    torch.testing.assert_close(QuickGELU()(x), expected)
    (ours,), (reference,) = (torch.autograd.grad(y.sum(), x) for y in (QuickGELU()(x), expected))
    torch.testing.assert_close(ours, reference)


def test_layer_norm_in_bfloat16_is_the_rounded_fp32_one() -> None:
    norm = LayerNorm(128)
    x = (5 + torch.randn(50, 128)).bfloat16()
    expected = F.layer_norm(x.float(), (128,), norm.weight, norm.bias).bfloat16()
    assert norm(x).dtype == torch.bfloat16
    torch.testing.assert_close(norm(x), expected, rtol=2**-7, atol=0)


def test_attention_by_parts_is_as_near_to_fp32_as_the_fused_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = features_and_gradients(OURS, NAMES)
    rounded = CLIP(tiny_clip.build().state_dict())
    Precision("bf16", CPU).cast(rounded)

    def errors() -> torch.Tensor:
        values = features_and_gradients(rounded, NAMES)
        pairs = zip(values, exact, strict=True)
        return torch.stack([(v - e).norm() / e.norm() for v, e in pairs]).detach()

    by_parts = errors()
    fused = lambda q, k, v, bias: F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # noqa: E731
    monkeypatch.setattr("prompting.transformer._attend_by_parts", fused)
    assert bool((by_parts < 1.5 * errors()).all())
    assert float(by_parts.max()) < 0.1  # eight bits of precision through four layers


# -- the model of cost ------------------------------------------------------------------------------


def test_the_cost_model_counts_what_pytorch_counts(tmp_path: Path) -> None:
    """Matrix products of a PromptSRC step, against PyTorch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    ours = subject.build_ours("PromptSRC", 12, "fp32", CPU, tmp_path, TINY)
    batch = subject.images_and_labels(2, 12, TINY, CPU)
    ours.step(*batch)
    with FlopCounterMode(display=False) as counter:
        ours.step(*batch)
    rows = ours.model.layout.rows
    modelled = costs.prompt_src_step(
        classes=12,
        suffix_tokens=len(rows.suffix),
        prefix_tokens=5,
        batch=2,
        row=rows.length,
        prompts=4,
        sizes=TINY,
    )
    assert modelled == pytest.approx(counter.get_total_flops(), rel=0.1)
