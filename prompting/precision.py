"""The four precisions of training and testing: fp32, fp16, amp and bf16."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from .errors import InputError

NAMES = ("fp32", "fp16", "amp", "bf16")


@dataclass(frozen=True)
class Precision:
    """How a method computes. What is learned stays fp32 in all of them and is cast on use.

    fp32: everything in fp32. fp16: frozen weights and activations in half precision, no loss scaling,
    as in the published runs. amp: fp32 weights under fp16 autocast with a GradScaler. bf16: frozen
    weights and activations in bfloat16.
    """

    name: str
    device: torch.device

    @property
    def weights(self) -> torch.dtype:
        return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.name, torch.float32)

    def autocast(self) -> AbstractContextManager:
        """The context in which forward passes run."""
        return (
            torch.autocast(self.device.type, torch.float16) if self.name == "amp" else nullcontext()
        )

    def scaler(self) -> torch.amp.GradScaler:
        """A gradient scaler, which does nothing outside amp."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "amp")

    def cast(self, module: nn.Module) -> None:
        """Cast frozen weights in place; normalisation and embeddings stay fp32, as in CLIP's fp16."""
        norms = (nn.LayerNorm, nn.BatchNorm2d, nn.Embedding)
        for part in module.modules():
            if isinstance(part, norms):
                continue
            for name, weight in part.named_parameters(recurse=False):
                if name not in ("positional_embedding", "logit_scale"):
                    weight.data = weight.data.to(self.weights)


def resolve_precision(name: str, device: torch.device) -> Precision:
    """The precision of that name on that device.

    Raises:
        InputError: an unknown name, or half precision asked of a CPU.
    """
    if name not in NAMES:
        raise InputError(f"PREC is {name!r}: choose one of {', '.join(NAMES)}")
    if name in ("fp16", "amp") and device.type == "cpu":
        raise InputError(
            f"PREC {name} needs a CUDA device: fp16 arithmetic on a CPU is slow and loses gradients. "
            "Use fp32, or bf16 where the processor supports it"
        )
    return Precision(name, device)
