"""The configuration that the trainers add to Dassl's, with the published names and defaults."""

from __future__ import annotations

from yacs.config import CfgNode

from .templates import TEACHER

METHODS = {
    "ZEROSHOT": {"TEMPLATE": "", "PREC": "fp32"},
    "COOP": {
        "N_CTX": 16,
        "CSC": False,
        "CTX_INIT": "",
        "PREC": "fp16",
        "CLASS_TOKEN_POSITION": "end",
    },
    "COCOOP": {"N_CTX": 16, "CTX_INIT": "", "PREC": "fp16"},
    "IVLP": {
        "N_CTX_VISION": 2,
        "N_CTX_TEXT": 2,
        "CTX_INIT": "a photo of a",
        "PREC": "fp16",
        "PROMPT_DEPTH_VISION": 9,
        "PROMPT_DEPTH_TEXT": 9,
    },
    "PROMPTSRC": {
        "N_CTX_VISION": 4,
        "N_CTX_TEXT": 4,
        "CTX_INIT": "a photo of a",
        "PREC": "fp16",
        "PROMPT_DEPTH_VISION": 9,
        "PROMPT_DEPTH_TEXT": 9,
        "TEXT_LOSS_WEIGHT": 25.0,
        "IMAGE_LOSS_WEIGHT": 10.0,
        "GPA_MEAN": 15.0,
        "GPA_STD": 1.0,
        # for ablations: whether prompts are averaged, and with how many templates the teacher is asked
        "GPA": True,
        "TEACHER_TEMPLATES": len(TEACHER),
    },
    # read so that published configurations merge; the trainer is not part of this project
    "MAPLE": {"N_CTX": 2, "CTX_INIT": "a photo of a", "PREC": "fp16", "PROMPT_DEPTH": 9},
}


def extend_cfg(cfg: CfgNode) -> None:
    """Add the nodes TRAINER.<METHOD>, DATASET.SUBSAMPLE_CLASSES and TEST.EVERY (test base and new
    classes every so many epochs; 0 for never); what is there already stays."""
    for method, defaults in METHODS.items():
        node = cfg.TRAINER.setdefault(method, CfgNode())
        for key, value in defaults.items():
            node.setdefault(key, value)
    cfg.DATASET.setdefault("SUBSAMPLE_CLASSES", "all")
    cfg.TEST.setdefault("EVERY", 0)


def options(cfg: CfgNode, method: str) -> CfgNode:
    """TRAINER.<METHOD>, completed by our defaults where another extend_cfg made the node."""
    node = CfgNode(dict(METHODS[method]))
    node.update(cfg.TRAINER.get(method, {}))
    return node
