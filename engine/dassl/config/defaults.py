"""Every configuration key with its default value."""

from __future__ import annotations

from yacs.config import CfgNode as CN

from .toolbox_trainers import TOOLBOX_TRAINERS

_C = CN()

_C.VERSION = 1
# Where logs, checkpoints and TensorBoard files go.
_C.OUTPUT_DIR = "./output"
# A folder of an earlier run to go on from; OUTPUT_DIR is looked at where this is empty.
_C.RESUME = ""
# Negative: not seeded.
_C.SEED = -1
# CUDA is used where this is set and a device is there.
_C.USE_CUDA = True
_C.VERBOSE = True

_C.INPUT = CN()
_C.INPUT.SIZE = (224, 224)
# bilinear, bicubic or nearest
_C.INPUT.INTERPOLATION = "bilinear"
# Names of dassl.data.transforms.AVAI_CHOICES.
_C.INPUT.TRANSFORMS = ()
_C.INPUT.NO_TRANSFORM = False
_C.INPUT.PIXEL_MEAN = [0.485, 0.456, 0.406]
_C.INPUT.PIXEL_STD = [0.229, 0.224, 0.225]
_C.INPUT.CROP_PADDING = 4
_C.INPUT.RRCROP_SCALE = (0.08, 1.0)
_C.INPUT.CUTOUT_N = 1
_C.INPUT.CUTOUT_LEN = 16
_C.INPUT.GN_MEAN = 0.0
_C.INPUT.GN_STD = 0.15
_C.INPUT.RANDAUGMENT_N = 2
_C.INPUT.RANDAUGMENT_M = 10
_C.INPUT.COLORJITTER_B = 0.4
_C.INPUT.COLORJITTER_C = 0.4
_C.INPUT.COLORJITTER_S = 0.4
_C.INPUT.COLORJITTER_H = 0.1
_C.INPUT.RGS_P = 0.2
_C.INPUT.GB_P = 0.5
_C.INPUT.GB_K = 21

_C.DATASET = CN()
_C.DATASET.ROOT = ""
_C.DATASET.NAME = ""
_C.DATASET.SOURCE_DOMAINS = ()
_C.DATASET.TARGET_DOMAINS = ()
# Labelled images in all (semi-supervised learning).
_C.DATASET.NUM_LABELED = -1
# Images of each class (few-shot learning).
_C.DATASET.NUM_SHOTS = -1
_C.DATASET.VAL_PERCENT = 0.1
_C.DATASET.STL10_FOLD = -1
_C.DATASET.CIFAR_C_TYPE = ""
_C.DATASET.CIFAR_C_LEVEL = 1
_C.DATASET.ALL_AS_UNLABELED = False

_C.DATALOADER = CN()
# Negative: chosen by the number of processors.
_C.DATALOADER.NUM_WORKERS = 4
# Differently augmented views of each training image: img, img2, ...
_C.DATALOADER.K_TRANSFORMS = 1
# Also return the image without augmentation, as img0.
_C.DATALOADER.RETURN_IMG0 = False
_C.DATALOADER.TRAIN_X = CN()
_C.DATALOADER.TRAIN_X.SAMPLER = "RandomSampler"
_C.DATALOADER.TRAIN_X.BATCH_SIZE = 32
# Of the domain and class samplers: domains in a batch, images of each domain or class.
_C.DATALOADER.TRAIN_X.N_DOMAIN = 0
_C.DATALOADER.TRAIN_X.N_INS = 16
_C.DATALOADER.TRAIN_U = CN()
# The unlabelled loader takes the labelled one's settings.
_C.DATALOADER.TRAIN_U.SAME_AS_X = True
_C.DATALOADER.TRAIN_U.SAMPLER = "RandomSampler"
_C.DATALOADER.TRAIN_U.BATCH_SIZE = 32
_C.DATALOADER.TRAIN_U.N_DOMAIN = 0
_C.DATALOADER.TRAIN_U.N_INS = 16
_C.DATALOADER.TEST = CN()
_C.DATALOADER.TEST.SAMPLER = "SequentialSampler"
_C.DATALOADER.TEST.BATCH_SIZE = 32

_C.MODEL = CN()
# A checkpoint whose weights the model starts from.
_C.MODEL.INIT_WEIGHTS = ""
_C.MODEL.BACKBONE = CN()
_C.MODEL.BACKBONE.NAME = ""
_C.MODEL.BACKBONE.PRETRAINED = True
_C.MODEL.HEAD = CN()
# Empty: no head between backbone and classifier.
_C.MODEL.HEAD.NAME = ""
_C.MODEL.HEAD.HIDDEN_LAYERS = ()
_C.MODEL.HEAD.ACTIVATION = "relu"
_C.MODEL.HEAD.BN = True
_C.MODEL.HEAD.DROPOUT = 0.0

_C.OPTIM = CN()
_C.OPTIM.NAME = "adam"
_C.OPTIM.LR = 0.0003
_C.OPTIM.WEIGHT_DECAY = 5e-4
_C.OPTIM.MOMENTUM = 0.9
_C.OPTIM.SGD_DAMPNING = 0
_C.OPTIM.SGD_NESTEROV = False
_C.OPTIM.RMSPROP_ALPHA = 0.99
_C.OPTIM.ADAM_BETA1 = 0.9
_C.OPTIM.ADAM_BETA2 = 0.999
# NEW_LAYERS learn at LR, all others at LR * BASE_LR_MULT.
_C.OPTIM.STAGED_LR = False
_C.OPTIM.NEW_LAYERS = ()
_C.OPTIM.BASE_LR_MULT = 0.1
# single_step, multi_step or cosine
_C.OPTIM.LR_SCHEDULER = "single_step"
# Epochs; (-1,) means MAX_EPOCH.
_C.OPTIM.STEPSIZE = (-1,)
_C.OPTIM.GAMMA = 0.1
_C.OPTIM.MAX_EPOCH = 10
# Epochs of warm-up; none where not positive.
_C.OPTIM.WARMUP_EPOCH = -1
# linear or constant
_C.OPTIM.WARMUP_TYPE = "linear"
_C.OPTIM.WARMUP_CONS_LR = 1e-5
_C.OPTIM.WARMUP_MIN_LR = 1e-5
# The schedule starts from its first epoch when the warm-up ends.
_C.OPTIM.WARMUP_RECOUNT = True

_C.TRAIN = CN()
# Epochs between checkpoints; 0: only the last epoch.
_C.TRAIN.CHECKPOINT_FREQ = 0
# Batches between log lines.
_C.TRAIN.PRINT_FREQ = 10
# What an epoch of TrainerXU counts: train_x, train_u or smaller_one.
_C.TRAIN.COUNT_ITER = "train_x"

_C.TEST = CN()
_C.TEST.EVALUATOR = "Classification"
_C.TEST.PER_CLASS_RESULT = False
# Write the confusion matrix to OUTPUT_DIR/cmat.pt.
_C.TEST.COMPUTE_CMAT = False
_C.TEST.NO_TEST = False
_C.TEST.SPLIT = "test"
# The model that is tested after training: last_step or best_val.
_C.TEST.FINAL_MODEL = "last_step"

_C.TRAINER = CN({"NAME": "", **TOOLBOX_TRAINERS})


def get_cfg_default() -> CN:
    """A fresh copy of the defaults, free to be changed."""
    return _C.clone()
