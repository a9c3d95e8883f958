"""Train or test a method: the entry script, with Dassl's flags.

    python train.py --trainer PromptSRC --root DATA --seed 1 \\
        --dataset-config-file configs/datasets/caltech101.yaml \\
        --config-file configs/trainers/PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx.yaml \\
        --output-dir output/try DATASET.NUM_SHOTS 16 DATASET.SUBSAMPLE_CLASSES base

A mistake in what was given is one line on standard error and exit status 2; --debug shows where it was
noticed. Ctrl-C and SIGTERM end a run with 130 and 143; the same command goes on with it.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from types import FrameType


def stop(number: int, frame: FrameType | None) -> None:
    """Handle Ctrl-C and SIGTERM: end the data loading workers, say what to do, and end.

    Nothing is raised: out of a handler an exception can be lost, in what Python calls around a fork.
    Nor has anything to be saved, since files are written whole and the last whole epoch is on disk.
    """
    if os.getpid() != _MAIN_PROCESS:
        os._exit(128 + number)  # a worker, which gets Ctrl-C as well
    try:
        if hasattr(signal, "SIGCHLD"):  # torch's handler raises where a worker ends
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join(5)
        name = signal.Signals(number).name
        os.write(2, f"\nstopped by {name}: the run goes on with the same command\n".encode())
        sys.stdout.flush()  # fails where the signal came within a print
    finally:
        os._exit(128 + number)


if __name__ == "__main__":  # before the imports, which take seconds
    _MAIN_PROCESS = os.getpid()
    for _number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(_number) != signal.SIG_IGN:
            signal.signal(_number, stop)

# What is imported stays to the end. Python would look through all of it for garbage, many times now and
# once more when it ends, which is a third of what a start and an end take.
gc.disable()

import argparse
import difflib
import re
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import dassl.utils
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import set_random_seed, setup_logger
from yacs.config import CfgNode

import datasets
import datasets.errors
import trainers
from prompting.command_line import Parser
from prompting.errors import InputError
from prompting.tensors import lacks_memory
from trainers import run_folder
from trainers.configuration_merge import merge
from trainers.results import node_of, used_nodes

gc.freeze()
gc.enable()

# of all rooms; the original Dassl has none
INPUT_ERRORS = (
    InputError,
    datasets.errors.InputError,
    getattr(dassl.utils, "InputError", InputError),
)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Dassl's flags, then KEY VALUE pairs of the configuration.

    Raises:
        InputError: an unknown flag, or a flag without its value.
    """
    parser = Parser(
        prog="python train.py",
        description="Train or test a prompt-learning method on CLIP.",
        epilog="Order of merging: defaults, dataset, trainer, flags, KEY VALUE pairs.",
    )
    add = parser.add_argument
    add("--root", default="", help="the folder that holds the datasets")
    add("--output-dir", default="", help="where logs, checkpoints and results go")
    add("--resume", default="", help="go on with the run in this folder")
    add("--seed", type=int, help="a seed that is not negative makes the run repeatable")
    add("--source-domains", nargs="+", help="source domains, of datasets that have domains")
    add("--target-domains", nargs="+", help="target domains, of datasets that have domains")
    add("--transforms", nargs="+", help="training transforms, instead of the configured ones")
    add("--config-file", default="", help="configuration of the method")
    add("--dataset-config-file", default="", help="configuration of the dataset")
    add("--trainer", default="", help="the method, such as PromptSRC")
    add("--backbone", default="", help="a CLIP by name, file or folder (docs/backbones.md)")
    add("--precision", default="", help="fp32, fp16, amp or bf16, of whatever method runs")
    add("--head", default="", help="the head, of trainers that have one")
    add("--eval-only", action="store_true", help="test only")
    add("--model-dir", default="", help="with --eval-only: load the prompts of this run")
    add("--load-epoch", type=int, help="with --model-dir: the epoch to load")
    add("--note", action="append", default=[], help="a sentence for the log; several if need be")
    add("--no-train", action="store_true", help="build everything and stop")
    add("--debug", action="store_true", help="show the traceback of every error")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="further configuration")
    return parser.parse_args(arguments)


def default_config() -> CfgNode:
    """All keys with their defaults."""
    cfg = get_cfg_default()
    # the machine's choice where no configuration says otherwise; results do not depend on it
    cfg.DATALOADER.NUM_WORKERS = min(8, os.cpu_count() or 1)
    trainers.extend_cfg(cfg)
    datasets.extend_cfg(cfg)
    return cfg


def configure(arguments: argparse.Namespace) -> CfgNode:
    """The frozen configuration of a run.

    Raises:
        InputError: a file, key or value that is not there or does not fit.
    """
    cfg = default_config()
    for path in (arguments.dataset_config_file, arguments.config_file):
        if path:
            merge(cfg, path)
    flags = {
        "DATASET.ROOT": arguments.root,
        "OUTPUT_DIR": arguments.output_dir,
        "RESUME": arguments.resume,
        "DATASET.SOURCE_DOMAINS": arguments.source_domains,
        "DATASET.TARGET_DOMAINS": arguments.target_domains,
        "INPUT.TRANSFORMS": arguments.transforms,
        "TRAINER.NAME": arguments.trainer,
        "MODEL.BACKBONE.NAME": arguments.backbone,
        "MODEL.HEAD.NAME": arguments.head,
        "SEED": arguments.seed,
    }
    given = {key: value for key, value in flags.items() if value not in (None, "")}
    merge(cfg, [part for pair in given.items() for part in pair])
    if arguments.precision:
        merge(cfg, [_precision_key(cfg.TRAINER.NAME), arguments.precision])
    merge(cfg, arguments.opts)
    cfg.freeze()
    return cfg


def _precision_key(trainer: str) -> str:
    """The key of a trainer's precision, in its own node.

    Raises:
        InputError: the trainer is unknown, or not one of ours.
    """
    _check_name("--trainer", trainer, TRAINER_REGISTRY.registered_names())
    node = getattr(TRAINER_REGISTRY.get(trainer), "node", None)
    if not node:
        raise InputError(f"--precision is given, but {trainer} has no precision: leave it out")
    return f"TRAINER.{node}.PREC"


def check_names(cfg: CfgNode, arguments: argparse.Namespace) -> None:
    """Refuse what this program or machine does not have.

    Raises:
        InputError: an unknown trainer or dataset, or USE_CUDA True was given where there is no CUDA.
    """
    _check_name("--trainer", cfg.TRAINER.NAME, TRAINER_REGISTRY.registered_names())
    _check_name("DATASET.NAME", cfg.DATASET.NAME, DATASET_REGISTRY.registered_names())
    asked = cfg.USE_CUDA and "USE_CUDA" in arguments.opts[::2]
    if asked and not torch.cuda.is_available():
        raise InputError(
            "USE_CUDA is True, but torch finds no CUDA device: install a CUDA build of torch and the "
            "driver, or leave USE_CUDA out to compute on the CPU"
        )


def _check_flags(arguments: argparse.Namespace) -> None:
    """Flags without which others say nothing."""
    if arguments.model_dir and not arguments.eval_only:
        raise InputError(
            f"--model-dir {arguments.model_dir} is what --eval-only tests: give that too, or leave "
            "it out to train (--resume goes on from another run's folder)"
        )
    if arguments.load_epoch is not None and not arguments.model_dir:
        raise InputError(
            f"--load-epoch {arguments.load_epoch} is of the checkpoints in --model-dir: give that "
            "too, or leave --load-epoch out"
        )


def _unread(cfg: CfgNode, pairs: Sequence[str]) -> list[str]:
    """Keys of KEY VALUE pairs that belong to other methods than the one that runs."""
    used = used_nodes(cfg.TRAINER.NAME)
    return [key for key in pairs[::2] if used and (node := node_of(key)) and node not in used]


def _check_name(option: str, name: str, known: Collection[str]) -> None:
    if name in known:
        return
    folded = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    hint = f" (did you mean {folded[near[0]]!r}?)" if near else ""
    raise InputError(f"{option} is {name!r}{hint}; there are: {', '.join(sorted(known))}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one training or test.

    Raises:
        InputError: something that was given does not fit; what was on disk is as it was.
    """
    arguments = parse_arguments(arguments)
    _check_flags(arguments)
    cfg = configure(arguments)
    check_names(cfg, arguments)
    kind = "test" if arguments.eval_only else "training"
    with run_folder.claimed(cfg, None if arguments.no_train else kind, default_config()):
        _run(cfg, arguments)


def _run(cfg: CfgNode, arguments: argparse.Namespace) -> None:
    setup_logger(cfg.OUTPUT_DIR)
    if cfg.SEED >= 0:
        print(f"Setting fixed seed: {cfg.SEED}")
        set_random_seed(cfg.SEED)
    print(f"Command: {' '.join(sys.argv)}")
    print(f"Configuration:\n{cfg}")
    for note in arguments.note:
        print(f"Note: {note}")
    if unread := _unread(cfg, arguments.opts):
        print(
            f"Note: {cfg.TRAINER.NAME} does not read other methods' settings: {', '.join(unread)}"
        )
    trainer = build_trainer(cfg)
    if arguments.eval_only:
        trainer.load_model(arguments.model_dir, epoch=arguments.load_epoch)
        trainer.test()
    elif not arguments.no_train:
        trainer.train()


def _message(error: BaseException) -> str:
    """What is said of an error that is the user's or the machine's; "" for our own bugs."""
    if isinstance(error, INPUT_ERRORS):
        # out of a worker, torch puts the traceback before the message
        return re.split(r"^[\w.]*(?:Error|Configuration|Refused\w*): ", str(error), flags=re.M)[-1]
    if "shared memory" in str(error) and isinstance(error, RuntimeError):
        return (
            "/dev/shm is too small for the batches of data loading workers: set DATALOADER.NUM_WORKERS "
            "0, or give it more room (docker run --shm-size 2g)"
        )
    if owner := lacks_memory(error):
        return (
            f"{owner} has too little memory: lower DATALOADER.TRAIN_X.BATCH_SIZE or "
            "DATALOADER.TEST.BATCH_SIZE, let TRAINER.<METHOD>.PREC be bf16 (with CUDA also amp or "
            "fp16), or lower what else was set large"
        )
    if isinstance(error, OSError) and error.errno:
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror}"
    return ""


def _say_in_a_line(thread_error: threading.ExceptHookArgs) -> None:
    """Of a thread that ended by the machine's fault, such as the writer of event files on a full disk,
    the message; what it wrote for is told its own error."""
    message = _message(thread_error.exc_value) if thread_error.exc_value else ""
    if message and "--debug" not in sys.argv:
        print(f"warning: {message}", file=sys.stderr)
    else:
        threading.__excepthook__(thread_error)


def run_program(program: Callable[[], object] = main) -> int:
    """A program with the command line; returns the exit status."""
    threading.excepthook = _say_in_a_line
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # printing a name never stops a run
            stream.reconfigure(errors="backslashreplace")
    status = 0
    try:
        program()
    except Exception as error:
        message = _message(error)
        if not message or "--debug" in sys.argv:
            traceback.print_exc()
        if message:
            print(f"error: {message}", file=sys.stderr)
        status = 2 if message else 1
    try:
        sys.__stdout__.flush()
    except OSError:  # nobody reads it; Python would complain when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
    return status


if __name__ == "__main__":
    sys.exit(run_program())
