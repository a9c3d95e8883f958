"""Every configuration key with its default value."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

from .configuration import Configuration
from .toolbox_trainers import TOOLBOX_TRAINERS

# Nested dictionaries are the nodes.
DEFAULTS: dict[str, Any] = {
    "VERSION": 1,
    # Where logs, checkpoints and TensorBoard files go.
    "OUTPUT_DIR": "./output",
    # A folder of an earlier run to go on from; OUTPUT_DIR is looked at where this is empty.
    "RESUME": "",
    # Negative: not seeded.
    "SEED": -1,
    # CUDA is used where this is set and a device is there.
    "USE_CUDA": True,
    "VERBOSE": True,
    "INPUT": {
        "SIZE": (224, 224),
        # bilinear, bicubic or nearest
        "INTERPOLATION": "bilinear",
        # Names of dassl.data.transforms.AVAI_CHOICES.
        "TRANSFORMS": (),
        "NO_TRANSFORM": False,
        "PIXEL_MEAN": [0.485, 0.456, 0.406],
        "PIXEL_STD": [0.229, 0.224, 0.225],
        "CROP_PADDING": 4,
        "RRCROP_SCALE": (0.08, 1.0),
        "CUTOUT_N": 1,
        "CUTOUT_LEN": 16,
        "GN_MEAN": 0.0,
        "GN_STD": 0.15,
        "RANDAUGMENT_N": 2,
        "RANDAUGMENT_M": 10,
        "COLORJITTER_B": 0.4,
        "COLORJITTER_C": 0.4,
        "COLORJITTER_S": 0.4,
        "COLORJITTER_H": 0.1,
        "RGS_P": 0.2,
        "GB_P": 0.5,
        "GB_K": 21,
    },
    "DATASET": {
        "ROOT": "",
        "NAME": "",
        "SOURCE_DOMAINS": (),
        "TARGET_DOMAINS": (),
        # Labelled images in all (semi-supervised learning).
        "NUM_LABELED": -1,
        # Images of each class (few-shot learning).
        "NUM_SHOTS": -1,
        "VAL_PERCENT": 0.1,
        "STL10_FOLD": -1,
        "CIFAR_C_TYPE": "",
        "CIFAR_C_LEVEL": 1,
        "ALL_AS_UNLABELED": False,
    },
    "DATALOADER": {
        # -1: chosen by the number of processors.
        "NUM_WORKERS": 4,
        # Augmented views of each training image: above 1, img is a list of so many tensors.
        "K_TRANSFORMS": 1,
        # MiB of memory at most for decoded training images, which are read in every epoch.
        "KEPT_PIXELS": 1024,
        # Also return the image without augmentation, as img0.
        "RETURN_IMG0": False,
        "TRAIN_X": {
            "SAMPLER": "RandomSampler",
            "BATCH_SIZE": 32,
            # Of the domain and class samplers: domains in a batch, images of each domain or class.
            "N_DOMAIN": 0,
            "N_INS": 16,
        },
        "TRAIN_U": {
            # The unlabelled loader takes the labelled one's settings.
            "SAME_AS_X": True,
            "SAMPLER": "RandomSampler",
            "BATCH_SIZE": 32,
            "N_DOMAIN": 0,
            "N_INS": 16,
        },
        "TEST": {
            "SAMPLER": "SequentialSampler",
            "BATCH_SIZE": 32,
        },
    },
    "MODEL": {
        # A checkpoint whose weights the model starts from.
        "INIT_WEIGHTS": "",
        "BACKBONE": {
            "NAME": "",
            "PRETRAINED": True,
        },
        "HEAD": {
            # Empty: no head between backbone and classifier.
            "NAME": "",
            "HIDDEN_LAYERS": (),
            "ACTIVATION": "relu",
            "BN": True,
            "DROPOUT": 0.0,
        },
    },
    "OPTIM": {
        "NAME": "adam",
        "LR": 0.0003,
        "WEIGHT_DECAY": 5e-4,
        "MOMENTUM": 0.9,
        "SGD_DAMPNING": 0,
        "SGD_NESTEROV": False,
        "RMSPROP_ALPHA": 0.99,
        "ADAM_BETA1": 0.9,
        "ADAM_BETA2": 0.999,
        # Added to the denominator of Adam and its kin.
        "ADAM_EPS": 1e-8,
        # NEW_LAYERS learn at LR, all others at LR * BASE_LR_MULT.
        "STAGED_LR": False,
        "NEW_LAYERS": (),
        "BASE_LR_MULT": 0.1,
        # single_step, multi_step or cosine
        "LR_SCHEDULER": "single_step",
        # Epochs; (-1,) means MAX_EPOCH.
        "STEPSIZE": (-1,),
        "GAMMA": 0.1,
        "MAX_EPOCH": 10,
        # Epochs of warm-up; none where not positive.
        "WARMUP_EPOCH": -1,
        # linear or constant
        "WARMUP_TYPE": "linear",
        "WARMUP_CONS_LR": 1e-5,
        "WARMUP_MIN_LR": 1e-5,
        # The schedule starts from its first epoch when the warm-up ends.
        "WARMUP_RECOUNT": True,
    },
    "TRAIN": {
        # Epochs between checkpoints; 0: only the last epoch.
        "CHECKPOINT_FREQ": 0,
        # Batches between log lines.
        "PRINT_FREQ": 10,
        # What an epoch of TrainerXU counts: train_x, train_u or smaller_one.
        "COUNT_ITER": "train_x",
    },
    "TEST": {
        "EVALUATOR": "Classification",
        "PER_CLASS_RESULT": False,
        # Write the confusion matrix to OUTPUT_DIR/cmat.pt.
        "COMPUTE_CMAT": False,
        "NO_TEST": False,
        "SPLIT": "test",
        # The model that is tested after training: last_step or best_val.
        "FINAL_MODEL": "last_step",
    },
    "TRAINER": {
        "NAME": "",
        **TOOLBOX_TRAINERS,
    },
}


def get_cfg_default() -> CfgNode:
    """A fresh copy of the defaults, free to be changed."""
    return Configuration.of(DEFAULTS)
