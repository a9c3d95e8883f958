"""The logger, meters, files, seeds and small operations on modules."""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision_cpu
from dassl.modeling import build_backbone, build_head
from dassl.utils import (
    AverageMeter,
    InputError,
    MetricMeter,
    check_isfile,
    collect_env_info,
    count_num_param,
    init_network_weights,
    listdir_nohidden,
    open_all_layers,
    open_specified_layers,
    read_json,
    set_random_seed,
    setup_logger,
    tolist_if_not,
    write_json,
)
from torch import nn


def new_console(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


def test_the_log_is_a_copy_of_what_is_printed(tmp_path, monkeypatch):
    console = new_console(monkeypatch)
    setup_logger(str(tmp_path / "run"))
    print("hello")
    print("a bar", file=sys.stderr)
    sys.stdout.flush()
    assert not sys.stdout.isatty()
    assert console.getvalue() == "hello\n"
    assert (tmp_path / "run" / "log.txt").read_text() == "hello\n"
    sys.stdout.close()
    print("console only")
    assert console.getvalue() == "hello\nconsole only\n"


def test_an_existing_log_is_kept(tmp_path, monkeypatch):
    for text in ("first", "second", "third"):
        new_console(monkeypatch)
        setup_logger(str(tmp_path))
        print(text)
        sys.stdout.close()
    logs = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert logs.pop("log.txt") == "first\n"
    assert sorted(logs.values()) == ["second\n", "third\n"]
    assert all(re.match(r"log\.txt-\d{4}(-\d\d){5}", name) for name in logs)


def test_what_a_terminal_cannot_show_is_escaped(tmp_path, monkeypatch):
    bytes_shown = io.BytesIO()
    console = io.TextIOWrapper(bytes_shown, encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", console)
    setup_logger(str(tmp_path))
    print("flor caf\u00e9 \udcff")
    sys.stdout.close()
    assert bytes_shown.getvalue() == b"flor caf\\xe9 \\udcff\n"
    assert (tmp_path / "log.txt").read_text("utf-8") == "flor caf\u00e9 \\udcff\n"


def test_no_output_no_file(monkeypatch):
    console = new_console(monkeypatch)
    setup_logger(None)
    assert sys.stdout is console


def test_average_meter():
    meter = AverageMeter()
    meter.update(1.0)
    meter.update(torch.tensor(4.0), n=2)
    assert (meter.val, meter.sum, meter.count, meter.avg) == (4.0, 9.0, 3, 3.0)
    moving = AverageMeter(ema=True)
    moving.update(1.0)
    moving.update(2.0)
    assert moving.avg == pytest.approx(1.1)


def test_metric_meter():
    meter = MetricMeter()
    meter.update({"loss": 1.0, "acc": 50.0})
    meter.update({"loss": 2.0, "acc": 100.0})
    meter.update(None)
    assert str(meter) == "loss 2.0000 (1.5000) acc 100.0000 (75.0000)"
    with pytest.raises(TypeError, match="dictionary"):
        meter.update(3.0)


def test_json_and_lists(tmp_path):
    path = tmp_path / "new" / "x.json"
    write_json({"name": "ä", "values": [1, 2]}, str(path))
    assert read_json(str(path)) == {"name": "ä", "values": [1, 2]}
    (path.parent / ".hidden").write_text("")
    (path.parent / "a.json").write_text("")
    assert listdir_nohidden(str(path.parent), sort=True) == ["a.json", "x.json"]
    assert check_isfile(str(path))
    with pytest.warns(UserWarning, match=r"absent\.json"):
        assert not check_isfile(str(tmp_path / "absent.json"))
    values = [1]
    assert tolist_if_not(values) is values
    assert tolist_if_not("ab") == ["ab"]


def test_seeds():
    def draws():
        return random.random(), np.random.rand(), torch.rand(()).item()

    set_random_seed(3)
    first = draws()
    assert draws() != first
    set_random_seed(3)
    assert draws() == first
    with pytest.raises(InputError, match="seed is 4294967296; expected 0 to"):
        set_random_seed(2**32)


def test_environment_is_described():
    assert torch.__version__ in collect_env_info()


def test_layers_are_opened_and_frozen():
    model = nn.Sequential()
    model.add_module("first", nn.Linear(2, 2))
    model.add_module("second", nn.Linear(2, 2))
    open_specified_layers(model, "second")
    assert not model.first.training
    assert model.second.training
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    open_all_layers(model)
    assert model.first.training
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match=r'"third" is not a layer.*first'):
        open_specified_layers(model, ["third"])


def test_parameters_are_counted():
    layer = nn.Linear(3, 4)
    assert count_num_param(layer) == 16
    assert count_num_param(params=layer.parameters()) == 16
    assert count_num_param(params=[{"params": [layer.bias]}, {"params": [layer.weight]}]) == 16
    with pytest.raises(ValueError, match="needs a model or parameters"):
        count_num_param()


@pytest.mark.parametrize("init_type", ["normal", "xavier", "kaiming", "orthogonal"])
def test_weights_are_initialised(init_type):
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Linear(50, 50))
    nn.init.constant_(model[1].weight, 5.0)
    before = model[2].weight.clone()
    init_network_weights(model, init_type)
    assert not torch.equal(model[2].weight, before)
    assert torch.equal(model[2].bias, torch.zeros(50))
    assert torch.equal(model[1].weight, torch.ones(3))
    if init_type == "normal":
        assert model[2].weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_unknown_initialisation_is_refused():
    with pytest.raises(ValueError, match=r'"uniform".*normal'):
        init_network_weights(nn.Linear(2, 2), "uniform")


def test_resnet_backbone_is_torchvision_s_without_the_classifier():
    from torchvision.models import resnet18

    backbone = build_backbone("resnet18", verbose=False, pretrained=False).eval()
    network = resnet18(weights=None).eval()
    network.fc = nn.Identity()
    network.load_state_dict(backbone.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert backbone.out_features == 512
    torch.testing.assert_close(backbone(images), network(images))


def test_mlp_head():
    head = build_head(
        "mlp", verbose=False, in_features=6, hidden_layers=[5, 4], bn=True, dropout=0.5
    )
    assert head.out_features == 4
    kinds = [type(layer).__name__ for layer in head.layers]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Dropout"] * 2
    assert head(torch.rand(3, 6)).shape == (3, 4)
    with pytest.raises(ValueError, match="HIDDEN_LAYERS"):
        build_head("mlp", verbose=False, in_features=6)
    with pytest.raises(ValueError, match='do you mean "relu"'):
        build_head("mlp", verbose=False, in_features=6, hidden_layers=[3], activation="rellu")


class _File:
    def __init__(self, name):
        self.name = name


@pytest.mark.parametrize(
    ("torch_version", "files", "disagree"),
    [
        ("2.13.0+cpu", ["_C.so", "libcudart.faf08d9a.so.13"], True),
        ("2.13.0+cpu", ["_C.so"], False),
        ("2.13.0", ["_C.so", "libcudart.faf08d9a.so.13"], False),
        ("2.13.0+cu130", ["libcudart.faf08d9a.so.13"], False),
        ("2.13.0+cpu", None, False),
    ],
)
def test_builds_of_torch_and_torchvision(monkeypatch, torch_version, files, disagree):
    found = None if files is None else [_File(name) for name in files]
    monkeypatch.setattr(torchvision_cpu.metadata, "version", lambda name: torch_version)
    monkeypatch.setattr(torchvision_cpu.metadata, "files", lambda name: found)
    assert torchvision_cpu.builds_disagree() is disagree


def test_torchvision_can_be_imported():
    code = "import torchvision_cpu, torchvision; print(torchvision.transforms.Resize(4))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
