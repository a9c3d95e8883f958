"""TRAIN.STEP: forward and backward pass of a training step as one graph, by torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prompting.errors import InputError

if TYPE_CHECKING:
    from .prompt_trainer import PromptTrainer

EAGER = "eager"
# by name and kind of device, the options of torch.compile
WAYS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "graph": {"cuda": {"backend": "cudagraphs"}, "cpu": {"backend": "aot_eager"}},
    "compiled": {"cuda": {"mode": "reduce-overhead"}, "cpu": {}},
}


def check(way: str) -> None:
    """Raise InputError where TRAIN.STEP is no known way."""
    if way not in (EAGER, *WAYS):
        raise InputError(f"TRAIN.STEP is {way!r}: choose one of {', '.join((EAGER, *WAYS))}")


class Step:
    """Loss, logged parts and gradients of a batch, as TRAIN.STEP says.

    eager: operation by operation. graph: the same kernels, on CUDA launched together as CUDA graphs; on
    a CPU there is nothing to launch, and the way serves tests. compiled: kernels that Inductor fuses,
    which changes the last digits; on CUDA in CUDA graphs too.

    The first step is always eager, and builds what is kept. Where the loss cannot be one graph, or it
    cannot be compiled here, so are all further ones, and that is said once.
    """

    def __init__(self, trainer: PromptTrainer) -> None:
        self.trainer, self.way = trainer, trainer.cfg.TRAIN.get("STEP", EAGER)
        self._began, self._eager, self._compiled = False, self.way == EAGER, None

    def __call__(self, images: Any, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        """What `compute_loss` takes -> the loss, and all parts that are logged; gradients are set."""
        trainer = self.trainer
        if self._began and not self._eager:
            try:
                return trainer.differentiate(self._compiled_loss(), images, labels)
            except torch.cuda.OutOfMemoryError:
                raise
            except Exception as error:  # of many kinds, as torch's compilers have it
                reason = str(error).strip().partition("\n")[0]
                print(
                    f"TRAIN.STEP {self.way} cannot be had here, so that steps are eager: "
                    f"{type(error).__name__}: {reason:.300}"
                )
                self._eager = True
        self._began = True
        return trainer.differentiate(trainer.compute_loss, images, labels)

    def _compiled_loss(self) -> Callable:
        kind = self.trainer.device.type
        if self._compiled is None:
            self._compiled = torch.compile(
                self.trainer.compute_loss, fullgraph=True, dynamic=False, **WAYS[self.way][kind]
            )
        if kind == "cuda":  # the last step's results may be overwritten
            torch.compiler.cudagraph_mark_step_begin()
        return self._compiled
