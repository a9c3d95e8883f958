"""Import this before torchvision (or a package that imports it) on a machine without CUDA.

The torchvision wheel of the package registry is built for CUDA. Beside a CPU build of torch its
compiled part cannot be loaded, and ``import torchvision`` stops with "operator torchvision::nms
does not exist", although nothing that image classification needs lives in that part. Declaring the
two operators that torchvision looks up is enough for the import to succeed.

Whether this is needed is read from the installed distributions' metadata, so importing this module
costs no import of torchvision and does nothing where the two builds match.
"""

from __future__ import annotations

import sys
from importlib import metadata

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def builds_disagree() -> bool:
    """Whether torch is a CPU build and torchvision a CUDA one."""
    try:
        torch_version = metadata.version("torch")
        torchvision_files = metadata.files("torchvision") or []
    except metadata.PackageNotFoundError:
        return False
    return torch_version.endswith("+cpu") and any(
        file.name.startswith("libcudart") for file in torchvision_files
    )


def _declare_operators():
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    return library


# The declarations live as long as this object.
_library = _declare_operators() if "torchvision" not in sys.modules and builds_disagree() else None
