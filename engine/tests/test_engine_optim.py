"""Learning rates against closed forms and reference figures, and the optimizers."""

from __future__ import annotations

import io
import math

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import nn

# Rates per epoch measured from published runs: cosine over all epochs, one warm-up epoch at 1e-5,
# base rate 0.0025.
REFERENCE_RATES = {
    3: [1e-5, 2.5e-3, 1.875e-3],
    4: [1e-5, 2.5e-3, 2.13388348e-3, 1.25e-3],
}


def optim_cfg(*pairs):
    cfg = get_cfg_default().OPTIM
    cfg.NAME = "sgd"
    cfg.LR = 0.0025
    cfg.LR_SCHEDULER = "cosine"
    cfg.WARMUP_EPOCH = 1
    cfg.WARMUP_TYPE = "constant"
    cfg.merge_from_list(list(pairs))
    return cfg


def build(cfg):
    optimizer = build_optimizer(nn.Linear(2, 2), cfg)
    return optimizer, build_lr_scheduler(optimizer, cfg)


def rates(optimizer, scheduler, epochs):
    result = []
    for _ in range(epochs):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return result


@pytest.mark.parametrize("epochs", sorted(REFERENCE_RATES))
def test_warmup_and_cosine_give_the_reference_rates(epochs):
    optimizer, scheduler = build(optim_cfg("MAX_EPOCH", epochs))
    assert rates(optimizer, scheduler, epochs) == pytest.approx(REFERENCE_RATES[epochs], rel=1e-7)


def test_cosine_counts_from_the_end_of_the_warmup():
    epochs = 20
    optimizer, scheduler = build(optim_cfg("MAX_EPOCH", epochs))
    measured = rates(optimizer, scheduler, epochs)
    expected = [1e-5] + [
        0.0025 * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / epochs)) for epoch in range(1, epochs)
    ]
    assert measured == pytest.approx(expected, rel=1e-9)
    assert measured[-1] == pytest.approx(6.1e-5, rel=1e-2)


def test_without_recount_the_warmup_epochs_count():
    # A step at epoch 3: with the recount it comes one epoch later.
    options = ("LR_SCHEDULER", "multi_step", "STEPSIZE", (3,), "MAX_EPOCH", 6)
    full, low = 0.0025, 0.00025
    recounted = rates(*build(optim_cfg(*options)), 6)
    assert recounted == pytest.approx([1e-5, full, full, full, low, low])
    counted = rates(*build(optim_cfg(*options, "WARMUP_RECOUNT", False)), 6)
    assert counted == pytest.approx([1e-5, full, full, low, low, low])


def test_linear_warmup_rises_in_equal_steps():
    optimizer, scheduler = build(
        optim_cfg("WARMUP_TYPE", "linear", "WARMUP_EPOCH", 4, "MAX_EPOCH", 10)
    )
    measured = rates(optimizer, scheduler, 6)
    expected = [1e-5, 0.0025 / 4, 0.0025 * 2 / 4, 0.0025 * 3 / 4, 0.0025]
    expected.append(0.0025 * 0.5 * (1 + math.cos(math.pi / 10)))
    assert measured == pytest.approx(expected, rel=1e-9)


def test_schedules_without_warmup():
    single = rates(
        *build(optim_cfg("WARMUP_EPOCH", -1, "LR_SCHEDULER", "single_step", "STEPSIZE", (2,))), 5
    )
    assert single == pytest.approx([0.0025, 0.0025, 0.00025, 0.00025, 0.000025])
    never = rates(*build(optim_cfg("WARMUP_EPOCH", -1, "LR_SCHEDULER", "single_step")), 10)
    assert never == [0.0025] * 10
    cosine = rates(*build(optim_cfg("WARMUP_EPOCH", -1, "MAX_EPOCH", 4)), 4)
    assert cosine == pytest.approx(
        [0.00125 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)]
    )


@pytest.mark.parametrize("stop", [1, 2, 5])
@pytest.mark.parametrize(
    "options",
    [
        ("WARMUP_EPOCH", 2),
        ("WARMUP_EPOCH", 2, "WARMUP_TYPE", "linear"),
        ("LR_SCHEDULER", "multi_step", "STEPSIZE", (2, 4)),
        ("WARMUP_EPOCH", -1),
    ],
)
def test_state_goes_through_a_file_of_plain_values(options, stop):
    cfg = optim_cfg("MAX_EPOCH", 8, *options)
    unbroken = rates(*build(cfg), 8)

    optimizer, scheduler = build(cfg)
    rates(optimizer, scheduler, stop)
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    optimizer, scheduler = build(cfg)
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    assert rates(optimizer, scheduler, 8 - stop) == unbroken[stop:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("LR_SCHEDULER", "cosin"), 'do you mean "cosine"'),
        (("WARMUP_TYPE", "lineer"), 'do you mean "linear"'),
    ],
)
def test_unknown_schedules_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(optim_cfg(*options))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", "Adam"),
        ("amsgrad", "Adam"),
        ("sgd", "SGD"),
        ("rmsprop", "RMSprop"),
        ("radam", "RAdam"),
        ("adamw", "AdamW"),
    ],
)
def test_optimizers_take_their_options(name, kind):
    optimizer = build_optimizer(
        nn.Linear(2, 2),
        optim_cfg("NAME", name, "MOMENTUM", 0.7, "ADAM_BETA1", 0.8, "ADAM_EPS", 1e-3),
    )
    assert type(optimizer).__name__ == kind
    options = optimizer.defaults
    assert options["lr"] == 0.0025
    assert options["weight_decay"] == 5e-4
    if name in ("sgd", "rmsprop"):
        assert options["momentum"] == 0.7
    else:
        assert options["betas"] == (0.8, 0.999)
        assert options["eps"] == 1e-3
    if kind == "Adam":
        assert options["amsgrad"] == (name == "amsgrad")


def test_optimizers_take_parameters_and_groups():
    layer = nn.Linear(2, 3)
    cfg = optim_cfg()
    for given in (layer, layer.parameters(), [{"params": layer.parameters()}]):
        groups = build_optimizer(given, cfg).param_groups
        assert len(groups) == 1
        assert [id(p) for p in groups[0]["params"]] == [id(p) for p in layer.parameters()]
    groups = build_optimizer(
        layer, cfg, param_groups=[{"params": [layer.weight], "lr": 1.0}, {"params": [layer.bias]}]
    ).param_groups
    assert [group["lr"] for group in groups] == [1.0, 0.0025]


def test_groups_keep_the_ratio_of_their_own_rates_after_a_common_warmup():
    layer = nn.Linear(2, 3)
    cfg = optim_cfg("NAME", "adam", "MAX_EPOCH", 4)
    groups = [{"params": [layer.weight], "lr": 6.5 * cfg.LR}, {"params": [layer.bias]}]
    optimizer = build_optimizer(groups, cfg)
    scheduler = build_lr_scheduler(optimizer, cfg)
    measured = []
    for _ in range(4):
        measured.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    assert measured[0] == [1e-5, 1e-5]
    for (head, prompt), expected in zip(measured[1:], REFERENCE_RATES[4][1:], strict=True):
        assert prompt == pytest.approx(expected)
        assert head == pytest.approx(6.5 * expected)


def test_an_optim_node_of_a_plugin_needs_no_eps():
    cfg = optim_cfg("NAME", "adam")
    del cfg["ADAM_EPS"]
    assert build_optimizer(nn.Linear(2, 2), cfg).defaults["eps"] == 1e-8


def test_staged_rates():
    model = nn.Sequential()
    model.add_module("backbone", nn.Linear(2, 2))
    model.add_module("classifier", nn.Linear(2, 2))
    cfg = optim_cfg("STAGED_LR", True, "NEW_LAYERS", ("classifier",))
    base, new = build_optimizer(model, cfg).param_groups
    assert base["lr"] == pytest.approx(0.00025)
    assert new["lr"] == 0.0025
    assert {id(p) for p in base["params"]} == {id(p) for p in model.backbone.parameters()}
    assert {id(p) for p in new["params"]} == {id(p) for p in model.classifier.parameters()}
    with pytest.raises(TypeError, match="STAGED_LR needs the model"):
        build_optimizer(model.parameters(), cfg)
    with pytest.raises(ValueError, match='do you mean "classifier"'):
        build_optimizer(model, optim_cfg("STAGED_LR", True, "NEW_LAYERS", ("clasifier",)))
    with pytest.warns(UserWarning, match="STAGED_LR is ignored"):
        build_optimizer(model, cfg, param_groups=model.parameters())
