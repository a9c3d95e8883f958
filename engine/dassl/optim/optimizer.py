"""Optimizers by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from dassl.utils import check_availability
from torch import nn
from yacs.config import CfgNode

from .radam import RAdam

__all__ = ["AVAI_OPTIMS", "build_optimizer"]

AVAI_OPTIMS = ["adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw"]


def build_optimizer(
    model: nn.Module | Iterable[Any],
    optim_cfg: CfgNode,
    param_groups: Iterable[Any] | None = None,
) -> torch.optim.Optimizer:
    """The optimizer ``optim_cfg.NAME``.

    Args:
        model: a model, or parameters or parameter groups.
        optim_cfg: the configuration's ``OPTIM`` node.
        param_groups: parameters or groups to use in place of the model's; ``STAGED_LR`` does not
            apply to them.

    Raises:
        InputError: unknown name, or ``STAGED_LR`` with layers that the model does not have.
        TypeError: ``STAGED_LR`` without a model.
    """
    name = optim_cfg.NAME
    check_availability(name, AVAI_OPTIMS)
    if param_groups is not None and optim_cfg.STAGED_LR:
        warnings.warn(
            "OPTIM.STAGED_LR is ignored because param_groups are given; set the groups' own lr",
            stacklevel=2,
        )
    if param_groups is None:
        if optim_cfg.STAGED_LR:
            param_groups = _staged_groups(model, optim_cfg)
        else:
            param_groups = model.parameters() if isinstance(model, nn.Module) else model

    common = {"lr": optim_cfg.LR, "weight_decay": optim_cfg.WEIGHT_DECAY}
    if name == "sgd":
        return torch.optim.SGD(
            param_groups,
            momentum=optim_cfg.MOMENTUM,
            dampening=optim_cfg.SGD_DAMPNING,
            nesterov=optim_cfg.SGD_NESTEROV,
            **common,
        )
    if name == "rmsprop":
        return torch.optim.RMSprop(
            param_groups, momentum=optim_cfg.MOMENTUM, alpha=optim_cfg.RMSPROP_ALPHA, **common
        )
    common["betas"] = (optim_cfg.ADAM_BETA1, optim_cfg.ADAM_BETA2)
    # Nodes that a plugin made after the original's do not have it.
    common["eps"] = optim_cfg.get("ADAM_EPS", 1e-8)
    if name == "radam":
        return RAdam(param_groups, **common)
    if name == "adamw":
        return torch.optim.AdamW(param_groups, **common)
    return torch.optim.Adam(param_groups, amsgrad=name == "amsgrad", **common)


def _staged_groups(model: Any, optim_cfg: CfgNode) -> list[dict[str, Any]]:
    """Two groups: the layers learned anew at LR, the others at LR * BASE_LR_MULT."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"OPTIM.STAGED_LR needs the model itself to find its layers, but got "
            f"{type(model).__name__}; pass the model, or unset STAGED_LR"
        )
    if isinstance(model, nn.DataParallel):
        model = model.module
    new_layers: Sequence[str] = optim_cfg.NEW_LAYERS
    new_layers = [new_layers] if isinstance(new_layers, str) else new_layers
    if not new_layers:
        warnings.warn(
            "OPTIM.NEW_LAYERS is empty, so every layer learns at LR * BASE_LR_MULT", stacklevel=3
        )
    layers = {name.split(".")[0] for name, _ in model.named_parameters()}
    for layer in new_layers:
        check_availability(layer, sorted(layers))
    base, new = [], []
    for name, parameter in model.named_parameters():
        (new if name.split(".")[0] in new_layers else base).append(parameter)
    return [{"params": base, "lr": optim_cfg.LR * optim_cfg.BASE_LR_MULT}, {"params": new}]
