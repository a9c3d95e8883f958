"""Trainers written as Dassl's users write them, from the first batch to the reloaded model."""

from __future__ import annotations

import builtins
import io
import multiprocessing
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dassl.data import DataManager
from dassl.engine import TRAINER_REGISTRY, SimpleNet, TrainerX, TrainerXU, build_trainer
from dassl.engine.trainer import stop_workers
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import InputError, load_checkpoint, setup_logger
from torch import nn
from torch.nn import functional as F


@TRAINER_REGISTRY.register(force=True)
class PlainClassifier(TrainerX):
    def forward_backward(self, batch):
        input, label = self.parse_batch_train(batch)
        output = self.model(input)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)
        loss_summary = {
            "loss": loss.item(),
            "acc": compute_accuracy(output, label)[0].item(),
        }
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return loss_summary

    def parse_batch_train(self, batch):
        input = batch["img"].to(self.device)
        label = batch["label"].to(self.device)
        return input, label


@TRAINER_REGISTRY.register(force=True)
class PlainSemiSupervised(TrainerXU):
    def forward_backward(self, batch_x, batch_u):
        input_x, label_x, input_u = self.parse_batch_train(batch_x, batch_u)
        loss = F.cross_entropy(self.model(input_x), label_x)
        loss = (
            loss
            + 0.1 * torch.distributions.Categorical(logits=self.model(input_u)).entropy().mean()
        )
        self.model_backward_and_update(loss)
        self.seen.append((batch_x["index"].tolist(), batch_u["index"].tolist()))
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}

    def before_train(self):
        super().before_train()
        self.seen = []


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_a_classifier_learns_is_saved_loaded_and_tested(make_cfg, capsys, tmp_path):
    cfg = make_cfg("TRAINER.NAME", "PlainClassifier", "OPTIM.MAX_EPOCH", 12, "VERBOSE", True)
    trainer = build_trainer(cfg)
    assert trainer.device == torch.device("cpu")
    assert (trainer.num_classes, trainer.lab2cname[2]) == (3, "blue")
    trainer.train()
    printed = capsys.readouterr().out
    order = [
        "Loading trainer: PlainClassifier",
        "Loading dataset: ToyColours",
        "Building transform_train",
        "Building model",
        "# params: 59",
        "Loading evaluator: Classification",
        "No checkpoint found, train from scratch",
        "Checkpoint saved to",
        "Finish training",
        "Deploy the last-epoch model",
        "Evaluate on the *test* set",
        "=> result",
        "Elapsed: 0:00:",
    ]
    places = [printed.index(line) for line in order]
    assert places == sorted(places)
    accuracy = float(re.search(r"\* accuracy: ([\d.]+)%", printed).group(1))
    assert accuracy == 100.0

    folder = tmp_path / "output" / "model"
    assert {path.name for path in folder.iterdir()} == {"checkpoint", "model.pth.tar-12"}
    checkpoint = load_checkpoint(str(folder / "model.pth.tar-12"))
    assert set(checkpoint) == {"state_dict", "epoch", "optimizer", "scheduler", "val_result"}
    assert checkpoint["epoch"] == 12
    assert list((tmp_path / "output" / "tensorboard").iterdir())

    other = build_trainer(cfg)
    other.load_model(cfg.OUTPUT_DIR, epoch=12)
    assert_same_weights(weights(other), weights(trainer))
    assert other.test() == 100.0


def test_the_log_line(make_cfg, capsys):
    build_trainer(make_cfg("TRAINER.NAME", "PlainClassifier", "TRAIN.PRINT_FREQ", 2)).train()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch [")]
    number = r"\d+\.\d+ \(\d+\.\d+\)"
    pattern = (
        rf"epoch \[(\d)/3\] batch \[(\d)/4\] time {number} data {number} "
        rf"loss {number} acc {number} lr (\S+) eta \d+:\d\d:\d\d"
    )
    found = [re.fullmatch(pattern, line).groups() for line in lines]
    # The rate goes on with the last batch.
    assert found == [
        ("1", "2", "1.0000e-05"),
        ("1", "4", "1.0000e-01"),
        ("2", "2", "1.0000e-01"),
        ("2", "4", "7.5000e-02"),
        ("3", "2", "7.5000e-02"),
        ("3", "4", "2.5000e-02"),
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_bars_go_to_a_terminal_and_not_into_the_log(
    make_cfg, monkeypatch, capsys, tmp_path, terminal
):
    stderr = io.StringIO()
    stderr.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    setup_logger(str(tmp_path))
    cfg = make_cfg("TRAINER.NAME", "PlainClassifier", "TRAIN.PRINT_FREQ", 1)
    build_trainer(cfg).train()
    sys.stdout.close()
    assert ("epoch 2/3:" in stderr.getvalue()) is terminal
    assert ("test:" in stderr.getvalue()) is terminal
    log = (tmp_path / "log.txt").read_text()
    assert log == capsys.readouterr().out
    assert log.count("epoch [") == 12
    assert "epoch 2/3:" not in log


def test_runs_are_equal_whatever_the_workers_and_tests(make_cfg, tmp_path):
    def trained(name, *pairs):
        torch.manual_seed(0)
        cfg = make_cfg("TRAINER.NAME", "PlainClassifier", *pairs)
        cfg.OUTPUT_DIR = str(tmp_path / name)
        trainer = build_trainer(cfg)
        trainer.train()
        return weights(trainer)

    reference = trained("a", "TEST.NO_TEST", True)
    assert_same_weights(trained("b", "DATALOADER.NUM_WORKERS", 1), reference)
    # Validated after every epoch; the last model is put back before the comparison.
    torch.manual_seed(0)
    cfg = make_cfg("TRAINER.NAME", "PlainClassifier", "TEST.FINAL_MODEL", "best_val")
    trainer = build_trainer(cfg)
    trainer.train()
    trainer.load_model(cfg.OUTPUT_DIR, epoch=3)
    assert_same_weights(weights(trainer), reference)


def test_a_resumed_run_ends_where_an_unbroken_one_ends(make_cfg, tmp_path, capsys):
    def build(name):
        torch.manual_seed(0)
        cfg = make_cfg("TRAINER.NAME", "PlainClassifier", "TRAIN.CHECKPOINT_FREQ", 1)
        cfg.OUTPUT_DIR = str(tmp_path / name)
        return build_trainer(cfg)

    unbroken = build("unbroken")
    unbroken.train()

    class Killed(Exception):
        pass

    def killed():
        if broken.epoch == 2:
            raise Killed

    broken = build("broken")
    broken.before_epoch = killed
    with pytest.raises(Killed):
        broken.train()
    resumed = build("broken")
    nn.init.zeros_(resumed.model.classifier.weight)
    capsys.readouterr()
    resumed.train()
    printed = capsys.readouterr().out
    assert "will resume training" in printed
    assert "epoch [1/3]" not in printed
    assert_same_weights(weights(resumed), weights(unbroken))


def test_the_best_model_of_validation_is_deployed(make_cfg, capsys, tmp_path, monkeypatch):
    cfg = make_cfg("TRAINER.NAME", "PlainClassifier", "TEST.FINAL_MODEL", "best_val")
    trainer = build_trainer(cfg)
    results = iter([50.0, 80.0, 60.0])
    after_epochs = []

    def test(split=None):
        if split == "val":
            after_epochs.append(weights(trainer))
            return next(results)
        return PlainClassifier.test(trainer, split)

    monkeypatch.setattr(trainer, "test", test)
    trainer.train()
    printed = capsys.readouterr().out
    assert "Deploy the model with the best val performance" in printed
    best = load_checkpoint(str(tmp_path / "output" / "model" / "model-best.pth.tar"))
    assert (best["epoch"], best["val_result"]) == (2, 80.0)
    assert_same_weights(weights(trainer), after_epochs[1])
    assert trainer.best_result == 80.0

    # Going on does not take a worse model for the best.
    cfg.OPTIM.MAX_EPOCH = 4
    resumed = build_trainer(cfg)
    monkeypatch.setattr(resumed, "test", lambda split=None: 70.0)
    resumed.train()
    assert resumed.best_result == 80.0
    best = load_checkpoint(str(tmp_path / "output" / "model" / "model-best.pth.tar"))
    assert best["val_result"] == 80.0


def test_validation_uses_the_validation_images(make_cfg, capsys):
    trainer = build_trainer(make_cfg("TRAINER.NAME", "PlainClassifier", "TEST.SPLIT", "val"))
    trainer.test()
    assert "Evaluate on the *val* set" in capsys.readouterr().out
    without = build_trainer(make_cfg("TRAINER.NAME", "PlainClassifier", "DATASET.VAL_PERCENT", 0.0))
    with pytest.raises(InputError, match=r'"val".*ToyColours has no validation images'):
        without.test(split="val")
    with pytest.raises(InputError, match='no split "train"'):
        trainer.test(split="train")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (("TEST.FINAL_MODEL", "best_val"), "TEST.FINAL_MODEL is best_val.*no validation images"),
        (("TEST.SPLIT", "val"), '"val".*no validation images'),
        (("OPTIM.MAX_EPOCH", 0), "OPTIM.MAX_EPOCH is 0, so nothing would be trained"),
        (("OPTIM.MAX_EPOCH", -3), "OPTIM.MAX_EPOCH is -3"),
    ],
)
def test_training_that_cannot_be_meant_is_refused_before_it_writes(
    make_cfg, tmp_path, pairs, message
):
    cfg = make_cfg("TRAINER.NAME", "PlainClassifier", "DATASET.VAL_PERCENT", 0.0, *pairs)
    trainer = build_trainer(cfg)
    with pytest.raises(InputError, match=message):
        trainer.train()
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("INPUT.SIZE", (16,), r"\(16,\); expected 2 numbers"),
        ("INPUT.SIZE", (16, 0), "expected 1 or more"),
        ("INPUT.PIXEL_MEAN", [0.5], "expected 3 numbers"),
        ("INPUT.PIXEL_MEAN", [0.5, float("nan"), 0.5], "expected finite numbers"),
        ("INPUT.PIXEL_STD", [0.5, 0.5], "expected 3 numbers"),
        ("INPUT.PIXEL_STD", [0.5, 0.0, 0.5], "or more"),
        ("INPUT.TRANSFORMS", ("random_flipp",), 'do you mean "random_flip"'),
        ("INPUT.INTERPOLATION", "cubic", 'do you mean "bicubic"'),
        ("INPUT.GB_K", 4, "odd"),
        ("INPUT.RGS_P", 1.5, "0 to 1"),
        ("DATALOADER.NUM_WORKERS", -2, "-1 or more"),
        ("DATALOADER.K_TRANSFORMS", 0, "1 or more"),
        ("DATALOADER.TRAIN_X.BATCH_SIZE", 0, "1 or more"),
        ("DATALOADER.TEST.BATCH_SIZE", -4, "1 or more"),
        ("MODEL.INIT_WEIGHTS", "nowhere.pth", r'"nowhere\.pth", but there is no such file'),
        ("OPTIM.LR", -0.1, "0 or more"),
        ("OPTIM.LR", float("inf"), "0 or more"),
        ("OPTIM.NAME", "sdg", 'do you mean "sgd"'),
        ("OPTIM.STEPSIZE", (), "is empty"),
        ("TRAIN.PRINT_FREQ", 0, "1 or more"),
        ("TEST.FINAL_MODEL", "best_vall", 'do you mean "best_val"'),
        ("TEST.SPLIT", "train", "there are test, val"),
    ],
)
def test_options_out_of_range_are_named(make_cfg, key, value, message):
    cfg = make_cfg("DATASET.NAME", "NoSuchThing", key, value)
    with pytest.raises(InputError, match=rf"{re.escape(key)} .*{message}"):
        PlainClassifier(cfg)


@pytest.mark.parametrize(
    ("frequency", "saved"), [(0, {"5"}), (2, {"2", "4", "5"}), (1, {"1", "2", "3", "4", "5"})]
)
def test_checkpoint_frequency(make_cfg, tmp_path, frequency, saved):
    cfg = make_cfg(
        *("TRAINER.NAME", "PlainClassifier", "OPTIM.MAX_EPOCH", 5, "TEST.NO_TEST", True),
        *("TRAIN.CHECKPOINT_FREQ", frequency),
    )
    build_trainer(cfg).train()
    files = (tmp_path / "output" / "model").glob("model.pth.tar-*")
    assert {path.name.rpartition("-")[2] for path in files} == saved


def test_no_test_means_no_test(make_cfg, capsys):
    cfg = make_cfg("TRAINER.NAME", "PlainClassifier", "TEST.NO_TEST", True)
    build_trainer(cfg).train()
    printed = capsys.readouterr().out
    assert "Finish training" in printed
    assert "Deploy" not in printed
    assert "=> result" not in printed


def test_load_model_without_an_epoch_reads_the_best(make_cfg, capsys):
    trainer = build_trainer(make_cfg("TRAINER.NAME", "PlainClassifier"))
    with pytest.raises(FileNotFoundError, match=r"model-best\.pth\.tar"):
        trainer.load_model(trainer.output_dir)
    trainer.save_model(0, trainer.output_dir, is_best=True)
    before = weights(trainer)
    nn.init.zeros_(trainer.model.classifier.weight)
    trainer.load_model(trainer.output_dir)
    assert_same_weights(weights(trainer), before)
    trainer.load_model("")
    assert "load_model() is skipped" in capsys.readouterr().out


@pytest.mark.parametrize(("count", "batches"), [("train_x", 4), ("train_u", 3), ("smaller_one", 3)])
@pytest.mark.parametrize("workers", [0, 1])
def test_unlabelled_images_are_loaded_beside(make_cfg, count, batches, workers):
    cfg = make_cfg(
        *("TRAINER.NAME", "PlainSemiSupervised", "DATASET.NUM_LABELED", 6),
        *("TRAIN.COUNT_ITER", count, "DATALOADER.NUM_WORKERS", workers),
        *("DATALOADER.TRAIN_U.SAME_AS_X", False, "DATALOADER.TRAIN_U.BATCH_SIZE", 6),
    )
    trainer = build_trainer(cfg)
    trainer.train()
    assert len(trainer.seen) == 3 * batches
    assert {len(x) for x, _ in trainer.seen} == {4}
    assert {len(u) for _, u in trainer.seen} == {6}
    epoch = [index for _, u in trainer.seen[:3] for index in u]
    assert sorted(epoch) == list(range(18))


def test_training_without_the_unlabelled_images_it_needs(make_cfg):
    trainer = build_trainer(make_cfg("TRAINER.NAME", "PlainSemiSupervised"))
    with pytest.raises(ValueError, match=r"needs unlabelled images.*ToyColours"):
        trainer.train()
    cfg = make_cfg("TRAINER.NAME", "PlainSemiSupervised", "DATASET.NUM_LABELED", 6)
    cfg.TRAIN.COUNT_ITER = "all"
    with pytest.raises(InputError, match=r'"all".*smaller_one'):
        build_trainer(cfg).train()


def test_a_loss_that_is_no_number_stops_training(make_cfg):
    trainer = build_trainer(make_cfg("TRAINER.NAME", "PlainClassifier"))
    before = weights(trainer)
    for value in (float("nan"), float("inf")):
        loss = trainer.model(torch.rand(2, 3, 16, 16)).sum() * value
        with pytest.raises(FloatingPointError, match="infinite or NaN"):
            trainer.model_backward_and_update(loss)
    assert_same_weights(weights(trainer), before)


def test_without_tensorboard_training_goes_on(make_cfg, monkeypatch, capsys):
    real_import = builtins.__import__

    def blocked(name, *args, **kwargs):
        if "tensorboard" in name:
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", blocked)
    build_trainer(make_cfg("TRAINER.NAME", "PlainClassifier", "OPTIM.MAX_EPOCH", 1)).train()
    printed = capsys.readouterr().out
    assert printed.count("tensorboard is not installed") == 1
    assert "Finish training" in printed


def test_curves_are_written(make_cfg, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    build_trainer(make_cfg("TRAINER.NAME", "PlainClassifier")).train()
    events = EventAccumulator(str(tmp_path / "output" / "tensorboard"))
    events.Reload()
    assert len(events.Scalars("train/loss")) == 12
    assert [event.step for event in events.Scalars("train/lr")] == list(range(12))
    assert events.Scalars("train/lr")[0].value == pytest.approx(1e-5)
    assert len(events.Scalars("test/accuracy")) == 1


def test_what_a_killed_run_was_writing_is_removed_at_the_next_start(make_cfg, tmp_path):
    cfg = make_cfg("TRAINER.NAME", "PlainClassifier", "TEST.NO_TEST", True)
    code = (
        "import os; from dassl.utils.tools import atomic_write\n"
        f"atomic_write({str(tmp_path / 'output' / 'model' / 'model.pth.tar-1')!r}, "
        "lambda stream: os._exit(9))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    (left,) = (tmp_path / "output" / "model").iterdir()
    (tmp_path / "output" / "model" / ".mine").write_text("")
    build_trainer(cfg).train()
    assert not left.exists()
    assert (tmp_path / "output" / "model" / ".mine").exists()


@pytest.mark.parametrize("fails", [False, True])
def test_no_worker_lingers_however_training_ends(make_cfg, fails):
    cfg = make_cfg("TRAINER.NAME", "PlainClassifier", "DATALOADER.NUM_WORKERS", 1)
    trainer = build_trainer(cfg)
    others, seen = set(multiprocessing.active_children()), set()

    def after_epoch():
        seen.update(set(multiprocessing.active_children()) - others)
        if fails:
            raise KeyboardInterrupt

    trainer.after_epoch = after_epoch
    error = None
    try:
        trainer.train()
    except KeyboardInterrupt as raised:  # kept, as a debugger would, with all that it refers to
        error = raised
    assert (error is not None) is fails
    assert seen
    assert not set(multiprocessing.active_children()) - others
    assert trainer._writer is None
    assert len(list(trainer.train_loader_x)) == 4  # it can be used again
    stop_workers(trainer.train_loader_x)


def test_two_models_under_one_trainer(make_cfg, tmp_path):
    class TwoModels(PlainClassifier):
        def build_model(self):
            cfg = self.cfg
            self.model = SimpleNet(cfg, cfg.MODEL, self.num_classes).to(self.device)
            for name in ("backbone", "classifier"):
                part = getattr(self.model, name)
                optim = build_optimizer(part, cfg.OPTIM)
                self.register_model(name, part, optim, build_lr_scheduler(optim, cfg.OPTIM))

    trainer = TwoModels(make_cfg())
    assert trainer.get_model_names() == ["backbone", "classifier"]
    with pytest.raises(ValueError, match=r'"head".*\[\'backbone\', \'classifier\'\]'):
        trainer.get_model_names("head")
    with pytest.raises(ValueError, match='already registered as "backbone"'):
        trainer.register_model("backbone", nn.Linear(1, 1))

    trainer.set_model_mode("eval", "backbone")
    assert not trainer.model.backbone.training
    assert trainer.model.classifier.training
    with pytest.raises(KeyError, match="sleep"):
        trainer.set_model_mode("sleep")

    before = weights(trainer)
    loss = trainer.model(torch.rand(2, 3, 16, 16)).square().sum()
    trainer.model_backward_and_update(loss, "classifier")
    changed = {name for name, value in weights(trainer).items() if not value.equal(before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}

    trainer.update_lr("classifier")
    assert trainer.get_current_lr("classifier") == 0.1
    assert trainer.get_current_lr() == 1e-5

    trainer.save_model(0, trainer.output_dir)
    assert {path.name for path in (tmp_path / "output").iterdir()} == {"backbone", "classifier"}
    trainer.save_model(1, trainer.output_dir)
    (tmp_path / "output" / "backbone" / "checkpoint").write_text("model.pth.tar-1\n")
    with pytest.raises(InputError, match="different epochs"):
        trainer.resume_model_if_exist(trainer.output_dir)


def test_registering_before_init_is_refused():
    class TooEarly(TrainerX):
        def __init__(self, cfg):
            self.register_model("model", nn.Linear(1, 1))

    with pytest.raises(RuntimeError, match=r"before super\(\).__init__\(\)"):
        TooEarly(None)


def test_check_cfg_comes_before_anything_is_built(make_cfg):
    class Strict(PlainClassifier):
        def check_cfg(self, cfg):
            raise ValueError("wrong option")

    with pytest.raises(ValueError, match="wrong option"):
        Strict(make_cfg("DATASET.NAME", "NoSuchThing"))


def test_trainers_with_data_of_their_own(make_cfg):
    """A trainer that builds its loaders otherwise has no data manager, and trains."""

    class OwnData(PlainClassifier):
        def build_data_loader(self):
            dm = DataManager(self.cfg)
            self.train_loader_x, self.train_loader_u = list(dm.train_loader_x), None
            self.val_loader, self.test_loader = None, dm.test_loader
            self.num_classes, self.lab2cname = dm.num_classes, dm.lab2cname

    trainer = OwnData(make_cfg())
    trainer.train()
    assert Path(trainer.output_dir, "model", "model.pth.tar-3").is_file()


def test_simple_net_with_a_head(make_cfg, tmp_path):
    cfg = make_cfg(
        *("MODEL.BACKBONE.NAME", "resnet18", "MODEL.HEAD.NAME", "mlp"),
        *("MODEL.HEAD.HIDDEN_LAYERS", (7,), "MODEL.HEAD.BN", False),
    )
    net = SimpleNet(cfg, cfg.MODEL, 3)
    scores, features = net(torch.rand(2, 3, 32, 32), return_feature=True)
    assert scores.shape == (2, 3)
    assert features.shape == (2, net.fdim) == (2, 7)
    assert SimpleNet(cfg, cfg.MODEL, 0)(torch.rand(2, 3, 32, 32)).shape == (2, 7)


def test_initial_weights_are_loaded(make_cfg, tmp_path):
    first = PlainClassifier(make_cfg())
    first.save_model(0, first.output_dir)
    path = str(tmp_path / "output" / "model" / "model.pth.tar-1")
    second = PlainClassifier(make_cfg("MODEL.INIT_WEIGHTS", path))
    assert_same_weights(weights(second), weights(first))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_training_on_cuda(make_cfg):
    trainer = PlainClassifier(make_cfg("USE_CUDA", True))
    trainer.train()
    assert next(trainer.model.parameters()).is_cuda
