"""The benchmark runner, and that what makes the encoders fast leaves every figure as it was."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from benchmarks import costs, measure, methods, passes, run, subject
from prompting import packing, text_encoder
from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate
from prompting.precision import Precision
from prompting.steering import TextSteering
from prompting.transformer import LayerNorm, QuickGELU
from protocols.reporting.costs import read_benchmarks
from tests import tiny_clip

CPU = torch.device("cpu")
TINY = tiny_clip.SIZES["VIT"]
# as deep as published settings ask for
DEEP = {**TINY, "vision_layers": 12, "transformer_layers": 12}
METHODS = subject.methods()
KEYS = (
    "method work classes batch precision device ours plain floor unit times_faster times_floor "
    "launches waits note"
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few runs of little work."""
    monkeypatch.setattr(measure, "PATIENCE", 0.0)
    monkeypatch.setattr(run, "TESTED_IMAGES", 4)


@pytest.fixture(autouse=True)
def _own_cache() -> Iterator[None]:
    with subject.own_cache():
        yield


# -- the runner -------------------------------------------------------------------------------------


WORKS = ("text_encoder", "build", "train_step", "test", "checkpoint_bytes", "checkpoint_save")
# with files or prompts of their own kind; of the others what all have in common is enough
EVERY_WORK = ("CoOp", "CoCoOp", "PromptSRC")


@pytest.mark.parametrize(
    ("method", "work"),
    [
        (method, work)
        for method in METHODS
        for work in (WORKS if method in EVERY_WORK else ("test",))
        if (method, work) != ("CoCoOp", "text_encoder")  # no text features without an image
    ],
)
def test_every_method_and_work_gives_a_row(method: str, work: str, small: None) -> None:
    row = run.Row(method, work, 3, 2, "fp32", "cpu", unit=run.UNITS[work])
    run.run(row, CPU, DEEP)
    assert row.ours > 0
    assert row.plain > 0
    assert (row.floor is not None) == (work in ("train_step", "test"))
    assert row.waits == (1 if work == "train_step" else None)
    ratio = row.plain / row.ours
    assert row.times_faster == pytest.approx(1 / ratio if work == "test" else ratio)


def test_the_json_and_the_table(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(run.run, "__defaults__", (DEEP,))
    file = tmp_path / "figures.json"
    rows = ["CoOp:train_step:12", "CoOp:checkpoint_bytes:12"]
    run.main(["--only", *rows, "--batch", "2", "--json", str(file)])
    figures = json.loads(file.read_text())
    assert set(figures) == {"machine", "rows"}
    assert [row["work"] for row in figures["rows"]] == ["train_step"] * 2 + ["checkpoint_bytes"]
    assert [row["precision"] for row in figures["rows"]] == ["fp32", "bf16", "fp32"]
    assert all(list(row) == KEYS.split() for row in figures["rows"])
    assert {row["batch"] for row in figures["rows"]} == {2}
    printed = capsys.readouterr().out
    assert "| CoOp" in printed
    assert "Passed over, without plain path or published settings: DePTIVLP" in printed


def test_the_quick_suite_holds_what_it_must() -> None:
    rows = {(r.method, r.work, r.classes, r.precision) for r in run.suite("quick", CPU)}
    for classes in (50, 500):
        assert ("PromptSRC", "text_encoder", classes, "fp32") in rows
        assert ("PromptSRC", "train_step", classes, "fp32") in rows
        assert ("PromptSRC", "train_step", classes, "bf16") in rows


def test_the_full_suite_has_every_method_work_and_class_count() -> None:
    rows = run.suite("full", CPU)
    assert {r.method for r in rows} == set(METHODS)
    assert {r.work for r in rows} == set(run.UNITS)
    assert {r.classes for r in rows} == {0, *run.CLASSES}
    assert [f.name for f in fields(run.Row)] == KEYS.split()
    assert all(asdict(row)["unit"] for row in rows)


def test_batches_are_those_of_the_published_settings() -> None:
    steps = [row for row in run.suite("full", CPU) if row.work == "train_step"]
    batches = {row.method: row.batch for row in steps}
    assert (batches["CoCoOp"], batches["PromptSRC"], batches["CoOp"]) == (1, 4, 32)
    assert (batches["KgCoOp"], batches["PromptKD"]) == (128, 8)


def test_every_published_method_has_a_plain_path() -> None:
    """DePT on these two was not published as code."""
    without = ["DePTIVLP", "DePTPromptSRC", "LinearProbeCLIP", "LinearProbeCLIPSameImages"]
    assert subject.without_plain_path() == without


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
        measure.in_child("benchmarks.step", "nothing", "CoOp", 12, 1, "fp32", "cpu")


@pytest.mark.parametrize("freed", [0, 400])
def test_peak_memory_sees_what_is_taken_and_given_back(freed: int) -> None:
    """Whatever the allocator has kept of what was freed before: MB in small pieces, one left behind."""
    pieces = [torch.ones(250_000) for _ in range(freed)]
    left = torch.ones(1000)
    del pieces
    measure.reset_peak_memory(CPU)
    before = measure.peak_memory(CPU)
    torch.ones(50_000_000)
    assert 150e6 < measure.peak_memory(CPU) - before < 400e6
    assert left.sum() == 1000


def test_slow_paths_run_in_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"slow": 40.0, "fast": 0.1}
    runs = []
    monkeypatch.setattr(measure, "_timed", lambda path, device, clock: path())
    paths = {name: lambda name=name: runs.append(name) or clock[name] for name in clock}
    assert measure.interleaved(paths, CPU) == clock
    assert (runs.count("slow"), runs.count("fast")) == (2, 1 + 7)


# -- the two paths compute the same -----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_ours_and_plain_take_the_same_step(method: str, tmp_path: Path) -> None:
    """Same start, same batch: same losses over three steps, so gradients and updates agree."""
    torch.manual_seed(0)
    # not Adam, which makes steps of full size from gradients that are rounding noise
    ours = subject.build_ours(method, 12, "fp32", CPU, tmp_path, DEEP, ("OPTIM.NAME", "sgd"))
    reference = subject.build_plain(ours, CPU)
    start = {name: tensor.detach().clone() for name, tensor in reference.learned.items()}
    batch = subject.images_and_labels(method, 3, 12, DEEP, CPU)
    for _ in range(3):
        assert ours.step(*batch) == pytest.approx(reference.step(*batch), rel=1e-5)
    learned = {name for name, tensor in reference.learned.items() if tensor.requires_grad}
    moved = {name for name in learned if not torch.equal(start[name], reference.learned[name])}
    assert moved == learned


# of the kinds of steering: contexts by image, of two losses, deep prompts, tokens of classes, adapters,
# tokens that come in between; and a teacher's passes
@pytest.mark.parametrize(
    ("method", "image_passes"),
    [
        ("CoCoOp", 1),
        ("ProGrad", 1),
        ("PromptSRC", 2),
        ("TCP", 1),
        ("MultiModalAdapter", 1),
        ("MMRL", 2),
        ("PromptKD", 2),
    ],
)
def test_the_cost_model_counts_what_pytorch_counts(
    method: str, image_passes: int, tmp_path: Path
) -> None:
    ours = subject.build_ours(method, 12, "fp32", CPU, tmp_path, DEEP)
    batch = subject.images_and_labels(method, 2, 12, DEEP, CPU)
    counted = costs.counted(lambda: ours.step(*batch))
    assert sum(isinstance(each, passes.ImagePass) for each in ours.passes) == image_passes
    of_text, of_images = costs.step(ours.passes)
    # adapters are not modelled, and weigh more in a tiny CLIP
    bound = 0.1 if method == "MultiModalAdapter" else 0.03
    assert of_text + of_images == pytest.approx(counted, rel=bound)
    assert costs.counted(ours.image_passes) == pytest.approx(of_images, rel=bound)


def test_a_plain_step_is_counted_without_being_computed(tmp_path: Path) -> None:
    ours = subject.build_ours("PromptSRC", 12, "fp32", CPU, tmp_path, DEEP)

    def counts() -> tuple[int, int]:
        path = subject.build_plain(ours, CPU)
        images, labels = subject.images_and_labels("PromptSRC", 2, 12, DEEP, CPU)
        step = lambda: path.backward(images, labels)  # noqa: E731
        return costs.counted(step), costs.held(step)

    computed = counts()
    with costs.without_values():
        flops, held = counts()
    assert flops == computed[0] > 0
    # tensors go a little earlier or later
    assert held == pytest.approx(computed[1], rel=0.15)


def test_tensors_are_held_until_nothing_needs_them() -> None:
    x = torch.ones(1000, requires_grad=True)

    def path() -> None:
        (x * 1.0).relu()  # gone at once
        y = (x * x).exp()  # autograd keeps the exponential
        y.sum().backward()

    # the product, its exponential, and their sum, or gradients of as many; never all at once
    assert 8_000 <= costs.held(path) <= 16_100
    assert costs.held(lambda: torch.ones(1000)) == 4_000


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
    # near zero the mean's own rounding in fp32 is more than a step of bfloat16
    torch.testing.assert_close(norm(x), expected, rtol=2**-7, atol=1e-6)


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


# -- the comparison of methods ----------------------------------------------------------------------


def measured_as(seconds: float) -> dict[str, float]:
    figures = dict.fromkeys(("peak_memory", "image_seconds", "file_bytes"), seconds)
    flops = dict.fromkeys(("text_flops", "image_flops", "plain_flops", "plain_held"), 6.0)
    return {"seconds": seconds, **figures, **flops, "learned_parameters": 7}


def test_a_row_a_method_and_the_rows_of_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def in_child(module: str, path: str, method: str, classes: int, batch: int, *rest) -> dict:
        return measured_as(classes + batch if path == "ours" else 10 * classes + batch)

    monkeypatch.setattr(measure, "in_child", in_child)
    file = tmp_path / "methods.csv"
    methods.main([str(file), "--methods", "MaPLe", "--plain-classes", "150"])
    methods.main([str(file), "--methods", "CoOp"])
    rows = list(csv.DictReader(file.open()))
    assert [row["method"] for row in rows] == ["CoOp", "MaPLe"]
    coop, maple = ({k: v for k, v in row.items() if v} for row in rows)
    assert (coop["batch"], coop["step_seconds_500"], coop["plain_seconds_500"]) == (
        "32",
        "532",
        "5032",
    )
    assert (coop["step_seconds_500_equal_batch"], coop["plain_measured_at"]) == ("504", "50 500")
    assert float(maple["plain_seconds_500"]) == 5004  # on the line through 50 and 150
    assert (maple["plain_measured_at"], maple["plain_peak_memory_500"]) == ("50 150", "6.0")
    capsys.readouterr()
    methods.main([str(file), "--table"])
    printed = capsys.readouterr().out
    assert "| CoOp     | 32      | 500       | 532 s  |" in printed
    assert "step / CoOp's, 500" in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--plain-classes", "50"), "--plain-classes 50: expected more than 50"),
        (("--table",), "there is no"),
        (("--methods", "Nothing"), "invalid choice: 'Nothing'"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    flags: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as left:
        methods.main([str(tmp_path / "none.csv"), *flags])
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_the_document_has_the_tables_of_the_file() -> None:
    rows = read_benchmarks(Path("docs/methods.csv"))
    assert {"CoOp", "MaPLe"} <= set(rows) <= set(METHODS)
    assert methods.tables(rows) in Path("docs/benchmarks.md").read_text()
