"""TRAIN.STEP: every loss is one graph, and a step by that graph is the eager step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prompting.errors import InputError

from .conftest import STEPPING, Run, assert_same


@pytest.fixture(autouse=True)
def _cache_of_shallow_encoders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They have the whole CLIP's fingerprint and other features."""
    monkeypatch.setenv("PROMPT_CACHE", str(tmp_path / "cache"))


def shallow(trainer):
    """The trainer with two blocks an encoder, which are traced in half the time, ready for steps."""
    for encoder in (trainer.model.clip.image, trainer.model.clip.text):
        encoder.transformer.resblocks = encoder.transformer.resblocks[:2]
    trainer.num_batches, trainer.batch_idx, trainer.epoch = 99, 0, 0
    trainer.set_model_mode("train")
    return trainer


def steps(trainer, count: int = 3) -> list[dict[str, float]]:
    batches = list(trainer.train_loader_x)
    return [trainer.forward_backward(batches[index]) for index in range(count)]


@pytest.mark.parametrize("method", STEPPING)
def test_every_loss_is_one_graph(method: str, build) -> None:
    """The same one for another batch: nothing that changes from step to step is built in."""
    torch._dynamo.reset()
    trainer, graphs = shallow(build(method)), []

    def compile_(graph: torch.fx.GraphModule, _) -> object:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(trainer.compute_loss, backend=compile_, fullgraph=True, dynamic=False)
    steps(trainer, 1)  # the first one builds what is kept
    for batch in list(trainer.train_loader_x)[:2]:
        trainer.differentiate(compiled, *trainer.parse_batch_train(batch))
    assert len(graphs) == 1


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("method", "way"),
    [
        ("IVLP", "graph"),
        ("ProGrad", "graph"),  # two losses
        pytest.param("CoOp", "compiled", marks=pytest.mark.slow),
        pytest.param("ProGrad", "compiled", marks=pytest.mark.slow),
    ],
)
def test_steps_by_the_graph_are_the_eager_ones(method: str, way: str, build, capsys) -> None:
    torch._dynamo.reset()
    eager, ours = shallow(build(method)), shallow(build(method, TRAIN__STEP=way))
    torch.manual_seed(0)
    # away from the teacher, where a gradient would be nothing but rounding
    start = {
        name: value + 0.1 * torch.randn_like(value) for name, value in eager.learned.copy().items()
    }
    for trainer in (eager, ours):
        trainer.set_learned(start)
    expected, found = steps(eager), steps(ours)
    same = assert_same if way == "graph" else assert_close
    same(ours.learned.copy(), eager.learned.copy())
    for one, other in zip(expected, found, strict=True):
        assert other == pytest.approx(one, rel=0 if way == "graph" else 1e-4)
    assert not torch.equal(*(each[next(iter(start))] for each in (start, ours.learned.copy())))
    assert "eager" not in capsys.readouterr().out
    assert ours.step._compiled is not None


def test_what_cannot_be_one_graph_is_eager_and_said_once(build, monkeypatch, capsys) -> None:
    from trainers.coop import CoOp

    eager, ours = shallow(build("CoOp")), shallow(build("CoOp", TRAIN__STEP="graph"))
    expected, compute_loss = steps(eager), CoOp.compute_loss

    def reads(self, images, labels):
        loss, parts = compute_loss(self, images, labels)
        return (loss if loss.item() > -1 else -loss), parts

    monkeypatch.setattr(CoOp, "compute_loss", reads)
    assert steps(ours) == expected
    assert capsys.readouterr().out.count("TRAIN.STEP graph cannot be had here") == 1
    assert_same(ours.learned.copy(), eager.learned.copy())


def test_the_first_step_of_an_epoch_and_other_shapes_are_eager(build, monkeypatch, capsys) -> None:
    trainer, eager = build("CoOp", TRAIN__STEP="graph"), []
    monkeypatch.setattr(
        trainer, "differentiate", lambda loss, *_: eager.append(loss == trainer.compute_loss)
    )
    images, labels = torch.zeros(4, 3, 32, 32), torch.zeros(4)
    for count in (4, 4, 4, 3, 3, 4):
        trainer.step(images[:count], labels[:count])
    trainer.step.start_epoch()
    trainer.step(images, labels)
    trainer.step(images, labels)
    assert eager == [True, False, False, True, True, False, True, False]
    assert capsys.readouterr().out.count("TRAIN.STEP graph is for batches of 4 images") == 1


def test_without_a_compiler_steps_are_eager(run: Run, monkeypatch, capsys) -> None:
    def refuse(*_, **__):
        raise RuntimeError("Dynamo is not supported on this Python")

    monkeypatch.setattr(torch, "compile", refuse)
    run("CoOp", OPTIM__MAX_EPOCH="1", TRAIN__STEP="compiled")
    assert "steps are eager: RuntimeError: Dynamo is not supported" in capsys.readouterr().out


def test_a_run_may_go_on_with_another_step(run: Run) -> None:
    run("CoOp", OPTIM__MAX_EPOCH="1")
    run("CoOp", OPTIM__MAX_EPOCH="1", TRAIN__STEP="graph")  # finished, and kept
    with pytest.raises(InputError, match=r"TRAIN\.STEP is 'graphs': choose one of eager, graph"):
        run("CoOp", "other", TRAIN__STEP="graphs")


@pytest.mark.parametrize("method", ["CoOp", "PromptSRC"])
def test_stored_features_go_into_the_graph(method: str, build, tmp_path, capsys) -> None:
    """In place of pictures, and beside them."""
    torch._dynamo.reset()
    settings = {"STORE__TRAINING": "True", "STORE__FOLDER": str(tmp_path)}
    eager, ours = shallow(build(method)), shallow(build(method, TRAIN__STEP="graph", **settings))
    ours.set_learned(eager.learned.copy())
    ours.train_loader_x = ours.stored.for_training(ours.train_loader_x)
    assert steps(ours) == steps(eager)
    assert ours.stored.counts["training"]["computed"]
    assert "eager" not in capsys.readouterr().out
