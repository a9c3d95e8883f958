"""Learning rate schedules, stepped once an epoch, with a warm-up before them."""

from __future__ import annotations

from typing import Any

import torch
from dassl.utils import InputError, check_availability
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, StepLR
from yacs.config import CfgNode

__all__ = [
    "AVAI_SCHEDS",
    "ConstantWarmupScheduler",
    "LinearWarmupScheduler",
    "build_lr_scheduler",
]

AVAI_SCHEDS = ["single_step", "multi_step", "cosine"]
AVAI_WARMUPS = ["linear", "constant"]


class _WarmupScheduler(LRScheduler):
    """Sets the rate for ``warmup_epoch`` epochs, then lets another scheduler go on.

    The successor does not move during the warm-up, so its schedule starts where it stands when the
    warm-up ends: with a warm-up of one epoch, epoch 1 has the warm-up rate and epoch 2 the full
    one.

    Args:
        optimizer: the optimizer whose rates are set.
        successor: the schedule after the warm-up, built on the same optimizer.
        warmup_epoch: epochs of warm-up.
        last_epoch: epochs already done, less one.
    """

    _OWN_STATE = ("base_lrs", "last_epoch", "_step_count", "_last_lr")

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        successor: LRScheduler,
        warmup_epoch: int,
        last_epoch: int = -1,
    ) -> None:
        self.successor = successor
        self.warmup_epoch = warmup_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The rate of each parameter group in the current epoch."""
        if self.last_epoch >= self.warmup_epoch:
            return self.successor.get_last_lr()
        return self.get_warmup_lr()

    def get_warmup_lr(self) -> list[float]:
        """The rate of each parameter group in epoch ``last_epoch`` of the warm-up."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Go on by one epoch."""
        if self.last_epoch >= self.warmup_epoch:
            self.successor.step(epoch)
            self._last_lr = self.successor.get_last_lr()
        else:
            super().step(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The state as plain values, the successor's included."""
        state = {name: getattr(self, name) for name in self._OWN_STATE}
        return {**state, "successor": self.successor.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        for name in self._OWN_STATE:
            setattr(self, name, state_dict[name])
        self.successor.load_state_dict(state_dict["successor"])


class ConstantWarmupScheduler(_WarmupScheduler):
    """Warm-up at one fixed rate, ``cons_lr``."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        successor: LRScheduler,
        warmup_epoch: int,
        cons_lr: float,
        last_epoch: int = -1,
    ) -> None:
        self.cons_lr = cons_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch)

    def get_warmup_lr(self) -> list[float]:
        """``cons_lr`` for every group."""
        return [self.cons_lr for _ in self.base_lrs]


class LinearWarmupScheduler(_WarmupScheduler):
    """Warm-up from ``min_lr`` in the first epoch up to the full rate, in equal steps."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        successor: LRScheduler,
        warmup_epoch: int,
        min_lr: float,
        last_epoch: int = -1,
    ) -> None:
        self.min_lr = min_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch)

    def get_warmup_lr(self) -> list[float]:
        """``min_lr`` in epoch 0, then ``epoch / warmup_epoch`` of the full rate."""
        if self.last_epoch == 0:
            return [self.min_lr for _ in self.base_lrs]
        return [rate * self.last_epoch / self.warmup_epoch for rate in self.base_lrs]


def build_lr_scheduler(optimizer: torch.optim.Optimizer, optim_cfg: CfgNode) -> LRScheduler:
    """The schedule ``optim_cfg.LR_SCHEDULER``, after a warm-up where one is configured.

    Args:
        optimizer: the optimizer whose rates are set.
        optim_cfg: the configuration's ``OPTIM`` node. With ``WARMUP_RECOUNT`` the schedule counts
            its epochs from the end of the warm-up, so that a cosine over MAX_EPOCH epochs is not at
            zero in the last one; without it the epochs of the warm-up count too.

    Raises:
        InputError: unknown schedule or warm-up, or ``STEPSIZE`` of multi_step is no sequence.
    """
    name = optim_cfg.LR_SCHEDULER
    check_availability(name, AVAI_SCHEDS)
    stepsize = optim_cfg.STEPSIZE
    if name == "single_step":
        if isinstance(stepsize, (list, tuple)):
            stepsize = stepsize[-1]
        step = stepsize if stepsize > 0 else optim_cfg.MAX_EPOCH
        scheduler = StepLR(optimizer, step_size=step, gamma=optim_cfg.GAMMA)
    elif name == "multi_step":
        if not isinstance(stepsize, (list, tuple)):
            raise InputError(
                "For multi_step, OPTIM.STEPSIZE is a tuple or list of epochs, but got "
                f"{type(stepsize).__name__}"
            )
        scheduler = MultiStepLR(optimizer, milestones=stepsize, gamma=optim_cfg.GAMMA)
    else:
        scheduler = CosineAnnealingLR(optimizer, float(optim_cfg.MAX_EPOCH))

    if optim_cfg.WARMUP_EPOCH <= 0:
        return scheduler
    check_availability(optim_cfg.WARMUP_TYPE, AVAI_WARMUPS)
    if not optim_cfg.WARMUP_RECOUNT:
        scheduler.last_epoch = optim_cfg.WARMUP_EPOCH
    if optim_cfg.WARMUP_TYPE == "constant":
        return ConstantWarmupScheduler(
            optimizer, scheduler, optim_cfg.WARMUP_EPOCH, optim_cfg.WARMUP_CONS_LR
        )
    return LinearWarmupScheduler(
        optimizer, scheduler, optim_cfg.WARMUP_EPOCH, optim_cfg.WARMUP_MIN_LR
    )
