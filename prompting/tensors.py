"""What state dicts have in common, wherever they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def without_module(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same entries without the `module.` that DataParallel puts before each name."""
    return {name.removeprefix("module."): value for name, value in state.items()}


def unfit(state: Mapping[str, Tensor]) -> list[str]:
    """What keeps each tensor from being a weight: it is not floating point, NaN or infinite."""
    problems = []
    for name, value in state.items():
        if not value.is_floating_point() or value.layout is not torch.strided or value.is_meta:
            problems.append(f"{name} is no dense floating-point tensor but {value.dtype}")
        elif not _finite(value.float()):
            problems.append(f"{name} holds NaN or infinite values")
    return problems


def lacks_memory(error: BaseException) -> str:
    """What had too little memory, in words; "" where an error says something else."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "the CUDA device"
    # PyTorch has no class of its own for a CPU's
    is_cpus = isinstance(error, RuntimeError) and "you tried to allocate" in str(error)
    return "this machine" if is_cpus or isinstance(error, MemoryError) else ""


def _finite(value: Tensor) -> bool:
    # a sum is ten times cheaper than a look at each element, and finite only if all of them are
    return bool(value.sum().isfinite() or value.isfinite().all())


def in_short(problems: list[str], shown: int = 5) -> str:
    """The first few of many, for a message."""
    rest = len(problems) - shown
    return "; ".join(problems[:shown]) + (f"; and {rest} more" if rest > 0 else "")


def digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """A checksum of tensors on the CPU, by name, and of a text."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        found.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
