"""The CUDA devices of this machine."""

from __future__ import annotations

from importlib import metadata


def has_cuda() -> bool:
    """Whether torch finds a CUDA device. A CPU build finds none, which its version tells: importing
    torch would take longer than all else that a script does itself."""
    if metadata.version("torch").endswith("+cpu"):
        return False
    import torch

    return torch.cuda.is_available()


def cuda_devices() -> list[str]:
    """The numbers of the CUDA devices that torch finds."""
    if not has_cuda():
        return []
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
