"""The plain formula paths: what the published codes compute, written the straightforward way.

Prompts of 77 tokens through the blocks of `clip`'s own modules, the text features of all classes in
every forward pass, a loop over images in CoCoOp, a second CLIP where the published code keeps one, and
checkpoints of whole models where it writes them. They are the other side of every benchmark, and their
formulas are the reference of the parity tests. One file here is one in `trainers/`; a method is found
by its class, which has its trainer's name.
"""

import importlib
import pkgutil

from dassl.engine import TRAINER_REGISTRY

from .encoders import (
    Acts,
    image_features,
    image_prompts,
    normalise,
    prompt_vectors,
    text_features,
    text_prompts,
)
from .path import PlainPath

METHODS: dict[str, type[PlainPath]] = {
    name: path
    for module in pkgutil.iter_modules(__path__)
    for name, path in vars(importlib.import_module(f"{__name__}.{module.name}")).items()
    if name in TRAINER_REGISTRY.registered_names() and issubclass(path, PlainPath)
}

__all__ = [
    "METHODS",
    "Acts",
    "PlainPath",
    "image_features",
    "image_prompts",
    "normalise",
    "prompt_vectors",
    "text_features",
    "text_prompts",
]
