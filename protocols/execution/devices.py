"""The CUDA devices of this machine."""

from __future__ import annotations

import os
from importlib import metadata


def has_cuda() -> bool:
    """Whether torch finds a CUDA device. A CPU build finds none, which its version tells: importing
    torch would take longer than all else that a script does itself."""
    if metadata.version("torch").endswith("+cpu"):
        return False
    import torch

    return torch.cuda.is_available()


def cuda_devices() -> list[str]:
    """The CUDA devices that torch finds, as CUDA_VISIBLE_DEVICES names them."""
    if not has_cuda():
        return []
    import torch

    devices = [str(number) for number in range(torch.cuda.device_count())]
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[: len(devices)] if named else devices
