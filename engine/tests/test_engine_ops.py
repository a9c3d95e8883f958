"""Building blocks of trainers: what they compute, and small trainers that are written with them."""

from __future__ import annotations

import copy
import importlib

import pytest
import torch
from dassl.data import DataManager
from dassl.data.transforms import build_transform
from dassl.engine import TRAINER_REGISTRY, TrainerX, TrainerXU, build_trainer
from dassl.engine.trainer import SimpleNet
from dassl.modeling import build_head, build_network, ops
from dassl.modeling.ops import utils
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.optim.radam import RAdam
from torch import nn
from torch.nn import functional as F

NAMES = {
    "dassl.engine.trainer": "SummaryWriter MetricMeter AverageMeter",
    "dassl.optim.radam": "RAdam",
    "dassl.modeling.ops": "Attention Conv2dDynamic DSBN1d DSBN2d EFDMix MaximumMeanDiscrepancy "
    "MinibatchEnergyDistance MixStyle ReverseGrad Sequential2 SinkhornDivergence TransNorm1d "
    "TransNorm2d activate_efdmix activate_mixstyle cross_entropy crossdomain_efdmix "
    "crossdomain_mixstyle deactivate_efdmix deactivate_mixstyle mixup random_efdmix "
    "random_mixstyle run_with_efdmix run_with_mixstyle run_without_efdmix run_without_mixstyle",
    "dassl.modeling.ops.utils": "create_onehot ema_model_update linear_rampup reverse_index "
    "sharpen_prob shuffle_index sigmoid_rampup",
    "dassl.modeling.network.ddaig_fcn": "fcn_3x32_gctx fcn_3x64_gctx fcn_3x32_gctx_stn "
    "fcn_3x64_gctx_stn",
}


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in NAMES for name in NAMES[module].split()]
)
def test_names_of_the_api_exist(module, name):
    assert hasattr(importlib.import_module(module), name)


def test_what_is_not_there_is_said_by_the_module():
    with pytest.raises(ImportError, match="SummaryWritr"):
        from dassl.engine.trainer import SummaryWritr  # noqa: F401


# What the blocks compute


def style(x):
    return x.mean(dim=(2, 3)), x.std(dim=(2, 3))


@pytest.mark.parametrize("kind", [ops.MixStyle, ops.EFDMix])
def test_styles_of_a_batch_are_mixed(kind):
    x = torch.randn(6, 3, 5, 5) * torch.arange(1, 7).view(6, 1, 1, 1)
    layer = kind(p=1.0)
    # nothing of one's own style is left: every image has the style of one of the batch
    layer.beta.sample = torch.zeros
    for found, given in zip(style(layer(x)), style(x), strict=True):
        distances = torch.cdist(found, given)
        assert distances.min(dim=1).values.max() < 1e-4
    assert not torch.allclose(layer(x), x)
    layer.beta.sample = torch.ones
    torch.testing.assert_close(layer(x), x)
    assert torch.equal(kind(p=0.0)(x), x)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("kind", [ops.MixStyle, ops.EFDMix])
def test_a_style_of_another_domain_comes_from_the_other_half(kind):
    x = torch.randn(8, 3, 4, 4)
    x[4:] += 100
    layer = kind(p=1.0, mix="crossdomain")
    layer.beta.sample = torch.zeros
    mixed = layer(x)
    assert mixed[:4].mean() > 90
    assert mixed[4:].mean() < 10
    with pytest.raises(ValueError, match='do you mean "crossdomain"'):
        kind(mix="cross_domain")


@pytest.mark.parametrize(
    ("kind", "name"), [(ops.MixStyle, "mixstyle"), (ops.EFDMix, "efdmix")], ids=["mean", "ranks"]
)
def test_layers_that_mix_are_switched_in_a_whole_model(kind, name):
    switch = {key: getattr(ops, key) for key in vars(ops) if key.endswith(f"_{name}")}
    other = ops.EFDMix if kind is ops.MixStyle else ops.MixStyle
    model = nn.Sequential(nn.Sequential(kind(p=1.0)), other(p=0.0))
    x = torch.randn(6, 3, 4, 4)

    def mixes():
        return not torch.equal(model(x), x)

    assert mixes()
    with switch[f"run_without_{name}"](model):
        assert not mixes()
    assert mixes()
    model.apply(switch[f"deactivate_{name}"])
    assert not mixes()
    with switch[f"run_with_{name}"](model, mix="crossdomain"):
        assert mixes()
    assert not mixes()
    assert (model[0][0].mix, model[1].mix) == ("crossdomain", "random")
    model.apply(switch[f"activate_{name}"])
    assert mixes()
    model.apply(switch[f"random_{name}"])
    assert model[0][0].mix == "random"


def test_mixup_has_one_share_for_an_image_and_its_label():
    ones = torch.ones(50, 1, 2, 2)
    images, labels = ops.mixup(ones, 0 * ones, torch.ones(50, 3), torch.zeros(50, 3), 0.75, True)
    assert torch.equal(images[:, 0, 0, 0], labels[:, 0])
    assert labels.min() >= 0.5
    _, labels = ops.mixup(ones, 0 * ones, torch.ones(50, 3), torch.zeros(50, 3), 0.75)
    assert labels.min() < 0.5


def test_gradients_are_reversed():
    x = torch.ones(3, requires_grad=True)
    (ops.ReverseGrad()(x, 0.5) * torch.arange(3)).sum().backward()
    assert x.grad.tolist() == [0, -0.5, -1]
    with pytest.raises(ValueError, match="grad_scaling is -1"):
        ops.ReverseGrad()(x, -1)


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
def test_discrepancy_of_samples(kernel):
    x = torch.randn(200, 4)
    discrepancy = ops.MaximumMeanDiscrepancy(kernel)
    same, other = discrepancy(x, torch.randn(200, 4)), discrepancy(x, torch.randn(200, 4) + 3)
    assert other > 5 * same.abs()
    if kernel == "linear":
        sums = [x.sum(0) @ x.sum(0) - x.square().sum() for x in (x, x + 1)]
        expected = sum(sums) / (200 * 199) - 2 * x.mean(0) @ (x + 1).mean(0)
        torch.testing.assert_close(discrepancy(x, x + 1), expected)
    with pytest.raises(ValueError, match="rbf"):
        ops.MaximumMeanDiscrepancy("gaussian")


@pytest.mark.parametrize("metric", ["euclidean", "fast_euclidean"])
def test_transport_moves_each_point_to_its_nearest(metric):
    x = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    y = x[[2, 0, 1]] + torch.tensor([0.0, 0.5])
    divergence = ops.SinkhornDivergence(metric, eps=0.05, max_iter=100)
    cost, plan = divergence.transport_cost(x, y, return_pi=True)
    assert plan.argmax(dim=1).tolist() == [1, 2, 0]
    torch.testing.assert_close(plan.sum(1), torch.full((3,), 1 / 3), atol=1e-3, rtol=0)
    assert cost.item() == pytest.approx(0.25, abs=1e-3)
    assert divergence(x, y).item() == pytest.approx(0.5, abs=1e-2)
    assert ops.MinibatchEnergyDistance(metric, eps=0.05)(y[:2], y[:2]).item() < cost


def test_gradients_flow_through_a_plan_where_that_is_asked_for():
    x, y = torch.randn(4, 3, requires_grad=True), torch.randn(5, 3)
    gradients = []
    for through in (False, True):
        cost = ops.SinkhornDivergence(eps=0.5, bp_to_sinkhorn=through).transport_cost(x, y)
        gradients += torch.autograd.grad(cost, x)
    assert not torch.allclose(*gradients)


def test_domains_have_statistics_of_their_own():
    layer = ops.DSBN1d(2, n_domain=2)
    layer.select_bn(1)
    layer(torch.randn(8, 2) + 5)
    assert layer.bn[0].running_mean.tolist() == [0, 0]
    assert layer.bn[1].running_mean.min() > 0.2
    assert ops.DSBN2d(2, 3)(torch.randn(4, 2, 3, 3)).shape == (4, 2, 3, 3)
    with pytest.raises(ValueError, match="no domain 2: expected 0 to 1"):
        layer.select_bn(2)


@pytest.mark.parametrize(
    ("kind", "shape"), [(ops.TransNorm1d, (8, 3)), (ops.TransNorm2d, (8, 3, 2, 2))]
)
def test_source_and_target_are_normalised_apart(kind, shape):
    x = torch.randn(shape)
    x[4:] = 3 * x[4:] + 10
    plain = kind(3, adaptive_alpha=False)
    for half in plain(x).chunk(2):
        assert half.mean().abs() < 1e-5
    torch.testing.assert_close(plain.running_mean_t, 0.9 * x[4:].transpose(0, 1).flatten(1).mean(1))
    # in evaluation all is target
    assert plain.eval()(x)[4:].mean().abs() < 1 < plain(x)[:4].mean().abs()
    x[4:, 0] = x[:4, 0]
    gain = (kind(3)(x) / kind(3, adaptive_alpha=False)(x)).transpose(0, 1).flatten(1).mean(1)
    assert gain[0] > 2 > gain[1:].min()  # the channel whose statistics agree
    assert gain.sum().item() == pytest.approx(6, abs=1e-3)
    with pytest.raises(ValueError, match="dimensions, but got shape"):
        plain(torch.zeros(1, 1, 1))


def test_a_dynamic_convolution_weighs_its_parts():
    layer = ops.Conv2dDynamic(16, 8, kernel_size=3, stride=2, padding=1, attention_in_channels=32)
    x, seen = torch.randn(2, 16, 6, 6), torch.randn(2, 32, 3, 3)
    weights = layer.attention(seen)
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    parts = [weights[1, i] * part(x)[1] for i, part in enumerate(layer.kernel_templates.values())]
    torch.testing.assert_close(layer(x, seen)[1], layer.conv(x)[1] + sum(parts))
    with pytest.raises(ValueError, match="odd kernel_size"):
        ops.Conv2dDynamic(16, 8, 4, 1, 2)
    with pytest.raises(ValueError, match="at least 16 channels"):
        ops.Attention(8, 2)


def test_small_functions():
    scores, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    for smooth in (0, 0.2):
        target = F.one_hot(labels, 4) * (1 - smooth) + smooth / 4
        expected = -(target * scores.log_softmax(1)).sum(1)
        found = ops.cross_entropy(scores, labels, smooth, reduction="none")
        torch.testing.assert_close(found, expected)
    assert utils.create_onehot(labels, 4).tolist()[1] == [0, 1, 0, 0]
    sharpened = utils.sharpen_prob(torch.tensor([[0.75, 0.25]]))
    torch.testing.assert_close(sharpened, torch.tensor([[0.9, 0.1]]))
    assert [utils.linear_rampup(step, 10) for step in (-1, 5, 20)] == [0, 0.5, 1]
    ramp = [utils.sigmoid_rampup(step, 10) for step in (0, 5, 10, 20)]
    assert ramp == pytest.approx([0.006737947, 0.2865047969, 1, 1])
    with pytest.raises(ValueError, match="length of a ramp is 0"):
        utils.linear_rampup(1, 0)
    data, label = utils.shuffle_index(torch.arange(50), torch.arange(50) + 1)
    assert data.tolist() != list(range(50)) == sorted(data.tolist())
    assert torch.equal(data + 1, label)
    assert utils.reverse_index(torch.arange(3), labels[:3])[0].tolist() == [2, 1, 0]
    both = ops.Sequential2(nn.Bilinear(2, 3, 4), nn.Linear(4, 5))
    assert both(torch.ones(1, 2), torch.ones(1, 3)).shape == (1, 5)


def test_radam_decays_weights_apart_from_the_gradient():
    decayed, plain = (nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizers = [RAdam([decayed], lr=0.1, weight_decay=0.5), RAdam([plain], lr=0.1)]
    for parameter, optimizer in zip((decayed, plain), optimizers, strict=True):
        parameter.grad = torch.ones(1)
        optimizer.step()
    # in the first step the moment is the gradient
    assert plain.item() == pytest.approx(1 - 0.1)
    assert decayed.item() == pytest.approx(1 - 0.1 * 0.5 - 0.1)


def test_radam_waits_for_a_second_moment_where_it_is_told_to():
    parameter = nn.Parameter(torch.ones(1))
    optimizer = RAdam([parameter], lr=0.1, degenerated_to_sgd=False)
    values = []
    for _ in range(7):
        parameter.grad = torch.ones(1)
        optimizer.step()
        values.append(parameter.item())
    assert values[:5] == [1] * 5
    assert 1 > values[5] > values[6]


@pytest.mark.parametrize("name", ["fcn_3x32_gctx", "fcn_3x64_gctx"])
def test_a_generator_starts_with_small_changes_and_adds_them(name):
    x = torch.rand(2, 3, 16, 16)
    for transformed in (False, True):
        options = {"image_size": 16} if transformed else {}
        network = build_network(f"{name}_stn" if transformed else name, verbose=False, **options)
        changed, change, before = network(x, lmda=0.5, return_stn_output=True)
        torch.testing.assert_close(changed, before + 0.5 * change)
        assert 0 < change.abs().mean() < 0.2
        # the spatial transformer starts near the identity, where it shrinks by tanh(1)
        assert torch.equal(before, x) is not transformed
        assert len(network(x, return_p=True)) == 2
    with pytest.raises(ValueError, match="image_size is 8"):
        build_network("fcn_3x32_gctx_stn", verbose=False, image_size=8)


# Small trainers


def register(trainer):
    TRAINER_REGISTRY.register(trainer, force=True)
    return trainer


@register
class AgainstACritic(TrainerXU):
    """Features by which a critic cannot tell labelled from unlabelled images."""

    def __init__(self, cfg):
        super().__init__(cfg)
        width = self.model.fdim
        body = build_head(
            "mlp", verbose=False, in_features=width, hidden_layers=[8], activation="leaky_relu"
        )
        self.critic = nn.Sequential(body, nn.Linear(8, 1)).to(self.device)
        optim = build_optimizer(self.critic, cfg.OPTIM)
        self.register_model("critic", self.critic, optim, build_lr_scheduler(optim, cfg.OPTIM))
        self.reverse = ops.ReverseGrad()

    def forward_backward(self, batch_x, batch_u):
        input_x, label_x, input_u = self.parse_batch_train(batch_x, batch_u)
        scores, features_x = self.model(input_x, return_feature=True)
        _, features_u = self.model(input_u, return_feature=True)
        features = self.reverse(torch.cat([features_x, features_u]), 0.1)
        domains = torch.cat([torch.ones(len(input_x), 1), torch.zeros(len(input_u), 1)])
        distance = ops.MaximumMeanDiscrepancy()(features_x, features_u)
        domain_loss = F.binary_cross_entropy_with_logits(self.critic(features), domains)
        loss = ops.cross_entropy(scores, label_x) + domain_loss + 0.01 * distance
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}


@register
class WithATeacher(TrainerXU):
    """Mixed images and labels that a slow copy of the model guesses; keeps no data manager."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self.teacher = copy.deepcopy(self.model)

    def check_cfg(self, cfg):
        assert cfg.DATALOADER.K_TRANSFORMS == 2

    def build_data_loader(self):
        strong = build_transform(self.cfg, is_train=True, choices=["random_flip", "cutout"])
        transforms = [build_transform(self.cfg, is_train=True), strong]
        manager = DataManager(self.cfg, custom_tfm_train=transforms)
        for name in ("train_loader_x", "train_loader_u", "val_loader", "test_loader"):
            setattr(self, name, getattr(manager, name))
        self.num_classes, self.lab2cname = manager.num_classes, manager.lab2cname

    def forward_backward(self, batch_x, batch_u):
        input_x, label_x = batch_x["img"][0], batch_x["label"]
        label_x = utils.create_onehot(label_x, self.num_classes)
        with torch.no_grad():
            guess = utils.sharpen_prob(self.teacher(batch_u["img"][0]).softmax(1), 2.0)
        others, their_labels = utils.shuffle_index(batch_u["img2"][1], guess)
        images, labels = ops.mixup(input_x, others, label_x, their_labels, 0.75, True)
        loss = -(labels * self.model(images).log_softmax(1)).sum(1).mean()
        loss = loss * (1 + utils.linear_rampup(self.epoch, 5) + utils.sigmoid_rampup(self.epoch, 5))
        self.model_backward_and_update(loss)
        utils.ema_model_update(self.model, self.teacher, 0.9)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}


class StyledNet(SimpleNet):
    """A SimpleNet that mixes styles on the way."""

    def __init__(self, cfg, model_cfg, num_classes):
        super().__init__(cfg, model_cfg, num_classes)
        self.style = ops.MixStyle(p=1.0)
        self.ranks = ops.EFDMix(p=1.0)

    def forward(self, x):
        return super().forward(self.ranks(self.style(x)))


@register
class GeneratedImages(TrainerX):
    """Learns from images that a generator makes harder; networks of its own, and no validation."""

    def build_model(self):
        cfg = self.cfg
        for name, network in (
            ("F", StyledNet(cfg, cfg.MODEL, self.num_classes)),
            ("G", build_network(cfg.TRAINER.DDAIG.G_ARCH, verbose=cfg.VERBOSE)),
        ):
            setattr(self, name, network.to(self.device))
            optim = build_optimizer(network, cfg.OPTIM)
            self.register_model(name, network, optim, build_lr_scheduler(optim, cfg.OPTIM))

    def forward_backward(self, batch):
        image, label, _ = self.parse_batch_train(batch)
        with ops.run_without_mixstyle(self.F), ops.run_without_efdmix(self.F):
            harder = -F.cross_entropy(
                self.F(self.G(image, lmda=self.cfg.TRAINER.DDAIG.LMDA)), label
            )
        self.model_backward_and_update(harder, "G")
        loss = F.cross_entropy(self.F(self.G(image).detach()), label)
        self.model_backward_and_update(loss, "F")
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"harder": harder.item(), "loss": loss.item()}

    def model_inference(self, input):
        return self.F(input)


@register
class WithALoopOfItsOwn(TrainerX):
    """Its own optimizer, epochs, meters and curves."""

    def build_model(self):
        self.model = SimpleNet(self.cfg, self.cfg.MODEL, self.num_classes).to(self.device)
        self.optim = RAdam(self.model.parameters(), lr=0.01)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("model", self.model, self.optim, self.sched)

    def run_epoch(self):
        from dassl.engine.trainer import AverageMeter, MetricMeter, SummaryWriter

        losses, seconds = MetricMeter(), AverageMeter()
        assert isinstance(self._writer, SummaryWriter)
        self.set_model_mode("train")
        self.num_batches = len(self.train_loader_x)
        for batch in self.train_loader_x:
            image, label, _ = self.parse_batch_train(batch)
            loss = F.cross_entropy(self.model(image), label)
            self.model_backward_and_update(loss)
            losses.update({"loss": loss.item()})
            seconds.update(0.1)
        self.update_lr()
        self.write_scalar("train/loss", losses.meters["loss"].avg, self.epoch)


@pytest.mark.parametrize(
    ("trainer", "pairs"),
    [
        ("AgainstACritic", ["DATASET.NUM_LABELED", 6]),
        ("WithATeacher", ["DATASET.NUM_LABELED", 6, "DATALOADER.K_TRANSFORMS", 2]),
        ("GeneratedImages", ["TRAINER.DDAIG.G_ARCH", "fcn_3x32_gctx"]),
        ("WithALoopOfItsOwn", []),
    ],
)
def test_a_small_trainer_learns_and_is_tested(make_cfg, capsys, trainer, pairs):
    trainer = build_trainer(make_cfg("TRAINER.NAME", trainer, "OPTIM.MAX_EPOCH", 2, *pairs))
    before = {name: copy.deepcopy(model) for name, model in trainer._models.items()}
    trainer.train()
    assert "* total: 6" in capsys.readouterr().out
    for name, model in trainer._models.items():
        pairs = zip(model.parameters(), before[name].parameters(), strict=True)
        assert any(not torch.equal(one, other) for one, other in pairs), name


def test_images_change_with_the_epoch_though_no_data_manager_is_kept(make_cfg):
    seen = []

    class Watching(WithATeacher):
        def forward_backward(self, batch_x, batch_u):
            first = batch_x["index"].tolist().index(min(batch_x["index"]))
            seen.append((int(min(batch_x["index"])), batch_x["img"][0][first]))
            return super().forward_backward(batch_x, batch_u)

    pairs = ["DATASET.NUM_LABELED", 6, "DATALOADER.K_TRANSFORMS", 2]
    Watching(make_cfg("DATALOADER.TRAIN_X.BATCH_SIZE", 18, *pairs)).train()
    assert [index for index, _ in seen] == [0, 0, 0]
    assert not torch.equal(seen[0][1], seen[1][1])
    assert not torch.equal(seen[1][1], seen[2][1])
