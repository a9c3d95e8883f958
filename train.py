"""Train or test a method: the entry script, with Dassl's flags.

    python train.py --trainer PromptSRC --root DATA --seed 1 \\
        --dataset-config-file configs/datasets/caltech101.yaml \\
        --config-file configs/trainers/PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx.yaml \\
        --output-dir output/try DATASET.NUM_SHOTS 16 DATASET.SUBSAMPLE_CLASSES base
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import set_random_seed, setup_logger
from yacs.config import CfgNode

import datasets
import trainers
from prompting.errors import InputError
from trainers.configuration_merge import merge


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Dassl's flags, then KEY VALUE pairs of the configuration."""
    parser = argparse.ArgumentParser(
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
    add("--backbone", default="", help="an OpenAI CLIP, a file in its layout, or a built-in CLIP")
    add("--precision", default="", help="fp32, fp16, amp or bf16, of whatever method runs")
    add("--head", default="", help="the head, of trainers that have one")
    add("--eval-only", action="store_true", help="test only")
    add("--model-dir", default="", help="with --eval-only: load the prompts of this run")
    add("--load-epoch", type=int, help="with --model-dir: the epoch to load")
    add("--no-train", action="store_true", help="build everything and stop")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="further configuration")
    return parser.parse_args(arguments)


def configure(arguments: argparse.Namespace) -> CfgNode:
    """The frozen configuration of a run."""
    cfg = get_cfg_default()
    # the machine's choice where no configuration says otherwise; results do not depend on it
    cfg.DATALOADER.NUM_WORKERS = min(8, os.cpu_count() or 1)
    trainers.extend_cfg(cfg)
    datasets.extend_cfg(cfg)
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
    known = trainer in TRAINER_REGISTRY.registered_names()
    node = getattr(TRAINER_REGISTRY.get(trainer), "node", None) if known else None
    if not node:
        raise InputError(
            f"--precision is given, but the trainer {trainer!r} has no precision: leave it out, or "
            "check --trainer"
        )
    return f"TRAINER.{node}.PREC"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one training or test."""
    arguments = parse_arguments(arguments)
    cfg = configure(arguments)
    if cfg.SEED >= 0:
        print(f"Setting fixed seed: {cfg.SEED}")
        set_random_seed(cfg.SEED)
    setup_logger(cfg.OUTPUT_DIR)
    print(f"Command: {' '.join(sys.argv)}")
    print(f"Configuration:\n{cfg}")
    trainer = build_trainer(cfg)
    if arguments.eval_only:
        trainer.load_model(arguments.model_dir, epoch=arguments.load_epoch)
        trainer.test()
    elif not arguments.no_train:
        trainer.train()


if __name__ == "__main__":
    main()
