"""Checkpoints, and small operations on modules."""

from __future__ import annotations

import os
import shutil
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import inert_reader
import torch
from torch import nn

from .errors import InputError, MissingCheckpoint
from .tools import atomic_write, tolist_if_not

__all__ = [
    "count_num_param",
    "init_network_weights",
    "load_checkpoint",
    "load_pretrained_weights",
    "open_all_layers",
    "open_specified_layers",
    "resume_from_checkpoint",
    "save_checkpoint",
]


def save_checkpoint(
    state: dict[str, Any],
    save_dir: str,
    is_best: bool = False,
    remove_module_from_keys: bool = True,
    model_name: str = "",
) -> None:
    """Write a checkpoint and name it in the text file ``checkpoint`` beside it.

    Every file is written completely before it takes its name, so that an interrupted run leaves the
    earlier checkpoint as it was.

    Args:
        state: holds ``state_dict`` and ``epoch`` and what else is to be kept.
        save_dir: the folder, made where missing.
        is_best: also write a copy as ``model-best.pth.tar``.
        remove_module_from_keys: drop the prefix ``module.`` that DataParallel puts before names.
        model_name: the file's name; by default ``model.pth.tar-EPOCH``.
    """
    if remove_module_from_keys:
        state = {**state, "state_dict": _without_module_prefix(state["state_dict"])}
    model_name = model_name or f"model.pth.tar-{state['epoch']}"
    fpath = os.path.join(save_dir, model_name)
    atomic_write(fpath, lambda stream: torch.save(state, stream))
    print(f"Checkpoint saved to {fpath}")
    atomic_write(
        os.path.join(save_dir, "checkpoint"),
        lambda stream: stream.write(f"{model_name}\n".encode()),
    )
    if is_best:
        with open(fpath, "rb") as source:
            atomic_write(
                os.path.join(save_dir, "model-best.pth.tar"),
                lambda stream: shutil.copyfileobj(source, stream),
            )
        print('Best checkpoint saved to "model-best.pth.tar"')


def load_checkpoint(fpath: str) -> dict[str, Any]:
    """Read a checkpoint without executing anything in it.

    Pickled optimizers and schedulers, as in files that the original toolbox wrote, come as
    ``inert_reader.Inert``. Tensors land on the CPU; ``load_state_dict`` moves them to where the
    model is.

    Raises:
        MissingCheckpoint: no such file.
        InputError: the file is truncated or damaged, holds no dictionary, or asks for more than
            tensors, plain values, optimizers and schedulers.
    """
    if fpath is None:
        raise InputError("No checkpoint was named: the path is None")
    if not os.path.exists(fpath):
        raise MissingCheckpoint(
            f'No checkpoint at "{fpath}". Check the folder (--model-dir) and the epoch '
            "(--load-epoch)."
        )
    try:
        checkpoint = inert_reader.load(fpath)
    except inert_reader.RefusedFile as error:
        raise InputError(str(error)) from error
    if not isinstance(checkpoint, dict):
        raise InputError(
            f'"{fpath}" is no checkpoint: expected a dictionary, but it holds '
            f"{type(checkpoint).__name__}."
        )
    return checkpoint


def load_weights(model: nn.Module, checkpoint: dict[str, Any], fpath: str) -> None:
    """Load the ``state_dict`` of a checkpoint into a model that it must fit exactly.

    Raises:
        InputError: there is none, or names or shapes differ.
    """
    if not isinstance(checkpoint.get("state_dict"), dict) or "epoch" not in checkpoint:
        raise InputError(
            f'"{fpath}" is no checkpoint of a run: expected state_dict and epoch, but it holds '
            f"{_some(checkpoint)}."
        )
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        reasons = " ".join(str(error).split())
        raise InputError(f'"{fpath}" is of another model: {reasons[:500]}') from error


def resume_from_checkpoint(
    fdir: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> int:
    """Restore model, optimizer and scheduler from the newest checkpoint of a folder.

    Returns:
        The number of whole epochs that were trained.

    Raises:
        MissingCheckpoint: the folder holds no ``checkpoint`` file or not the file that it names.
        InputError: that file is damaged or of another model.
    """
    pointer = os.path.join(fdir, "checkpoint")
    if not os.path.isfile(pointer):
        raise MissingCheckpoint(f'No checkpoint to resume from: "{pointer}" is missing.')
    with open(pointer, encoding="utf-8", errors="replace") as stream:
        model_name = stream.readline().strip()
    fpath = os.path.join(fdir, model_name)
    print(f'Loading checkpoint from "{fpath}"')
    checkpoint = load_checkpoint(fpath)
    load_weights(model, checkpoint, fpath)
    print("Loaded model weights")
    for name, target in (("optimizer", optimizer), ("scheduler", scheduler)):
        if target is not None and checkpoint.get(name) is not None:
            try:
                target.load_state_dict(_plain_state(checkpoint[name]))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f'The {name} in "{fpath}" is of another kind ({error!r}). Remove the text file '
                    f'"{pointer}" to train from the start.'
                ) from error
            print(f"Loaded {name}")
    start_epoch = checkpoint["epoch"]
    print(f"Previous epoch: {start_epoch}")
    return start_epoch


def _plain_state(state: Any) -> Any:
    """State dictionaries in place of pickled schedulers, such as a warm-up's successor."""
    if isinstance(state, inert_reader.Inert):
        state = {name: value for name, value in (state.state or {}).items() if name != "optimizer"}
    if isinstance(state, dict):
        return {name: _plain_state(value) for name, value in state.items()}
    return state


def load_pretrained_weights(model: nn.Module, weight_path: str) -> None:
    """Copy those weights of a checkpoint whose names and shapes the model has, and say which not.

    Args:
        model: the model, changed in place.
        weight_path: a checkpoint or a bare state dict.
    """
    checkpoint = load_checkpoint(weight_path)
    weights = _without_module_prefix(checkpoint.get("state_dict", checkpoint))
    weights = {name: value for name, value in weights.items() if isinstance(value, torch.Tensor)}
    own = model.state_dict()
    matched = {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape
    }
    if not matched:
        warnings.warn(
            f'No weight was loaded from "{weight_path}": no name and shape in it is the model\'s. '
            "Check that it belongs to this architecture.",
            stacklevel=2,
        )
        return
    model.load_state_dict(matched, strict=False)
    print(f'Loaded {len(matched)} of {len(own)} weights from "{weight_path}"')
    left = [name for name in weights if name not in matched]
    if left:
        print(f"Not loaded, as their names or shapes are not the model's: {left}")


def open_all_layers(model: nn.Module) -> None:
    """Train all layers: training mode, and gradients for every parameter."""
    model.train()
    for parameter in model.parameters():
        parameter.requires_grad = True


def open_specified_layers(model: nn.Module, open_layers: str | list[str]) -> None:
    """Train the named children of a model and freeze the others.

    Args:
        model: the model; one wrapped by DataParallel is looked into.
        open_layers: name or names of direct children.

    Raises:
        ValueError: a name is not a child of the model.
    """
    if isinstance(model, nn.DataParallel):
        model = model.module
    open_layers = tolist_if_not(open_layers)
    children = dict(model.named_children())
    for name in open_layers:
        if name not in children:
            raise ValueError(f'"{name}" is not a layer of the model; it has {list(children)}')
    for name, module in children.items():
        opened = name in open_layers
        module.train(opened)
        for parameter in module.parameters():
            parameter.requires_grad = opened


def count_num_param(model: nn.Module | None = None, params: Iterable[Any] | None = None) -> int:
    """The number of learnable-or-not values of a model, or of parameters or parameter groups.

    Raises:
        ValueError: neither was given.
    """
    if model is not None:
        return sum(parameter.numel() for parameter in model.parameters())
    if params is None:
        raise ValueError("count_num_param() needs a model or parameters")
    return sum(
        count_num_param(params=item["params"]) if isinstance(item, dict) else item.numel()
        for item in params
    )


def init_network_weights(model: nn.Module, init_type: str = "normal", gain: float = 0.02) -> None:
    """Fill convolutional and linear layers with fresh values, in place.

    Args:
        model: the model.
        init_type: normal, xavier, kaiming or orthogonal; biases become 0, and the weights of
            batch and instance normalisation 1.
        gain: the standard deviation (normal) or the gain (xavier, orthogonal).

    Raises:
        ValueError: unknown ``init_type``.
    """
    initialisers = {
        "normal": lambda weight: nn.init.normal_(weight, 0.0, gain),
        "xavier": lambda weight: nn.init.xavier_normal_(weight, gain=gain),
        "kaiming": lambda weight: nn.init.kaiming_normal_(weight, a=0, mode="fan_in"),
        "orthogonal": lambda weight: nn.init.orthogonal_(weight, gain=gain),
    }
    if init_type not in initialisers:
        raise ValueError(f'Unknown init_type "{init_type}"; choose one of {list(initialisers)}')
    normalisation = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
    for module in model.modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            initialisers[init_type](weight)
        elif isinstance(module, normalisation):
            if weight is not None:
                nn.init.constant_(weight, 1.0)
        else:
            continue
        if bias is not None:
            nn.init.constant_(bias, 0.0)


def _without_module_prefix(state_dict: dict[str, Any]) -> OrderedDict[str, Any]:
    return OrderedDict(
        (str(name).removeprefix("module."), value) for name, value in state_dict.items()
    )


def _some(names: Iterable[Any]) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "nothing"
