"""Checkpoints, and small operations on modules."""

from __future__ import annotations

import os
import pickle
import shutil
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

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
    """Read a checkpoint; only tensors and plain values are accepted, no pickled code is run.

    Tensors land on the CPU; ``load_state_dict`` moves them to where the model is.

    Raises:
        ValueError: no path was given.
        FileNotFoundError: no such file.
        RuntimeError: the file is truncated, damaged, or holds more than tensors and plain values.
    """
    if fpath is None:
        raise ValueError("No checkpoint was named: the path is None")
    if not os.path.isfile(fpath):
        raise FileNotFoundError(
            f'No checkpoint at "{fpath}". Check the folder (--model-dir) and the epoch '
            "(--load-epoch)."
        )
    try:
        return torch.load(fpath, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RuntimeError(
            f'The checkpoint "{fpath}" is damaged, or holds more than tensors and plain values, '
            f"which is not loaded because it could run code ({_first_line(error)}). Use a "
            "checkpoint written by this engine, or save the weights alone."
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise RuntimeError(
            f'The checkpoint "{fpath}" ({os.path.getsize(fpath):,} bytes) cannot be read '
            f"({_first_line(error)}). It is truncated or damaged, as after an interrupted copy: "
            "copy it again, or use the checkpoint of another epoch."
        ) from error


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
        FileNotFoundError: the folder holds no ``checkpoint`` file or not the file that it names.
    """
    pointer = os.path.join(fdir, "checkpoint")
    if not os.path.isfile(pointer):
        raise FileNotFoundError(f'No checkpoint to resume from: "{pointer}" is missing.')
    with open(pointer, encoding="utf-8") as stream:
        model_name = stream.readline().strip()
    fpath = os.path.join(fdir, model_name)
    print(f'Loading checkpoint from "{fpath}"')
    checkpoint = load_checkpoint(fpath)
    model.load_state_dict(checkpoint["state_dict"])
    print("Loaded model weights")
    for name, target in (("optimizer", optimizer), ("scheduler", scheduler)):
        if target is not None and checkpoint.get(name) is not None:
            target.load_state_dict(checkpoint[name])
            print(f"Loaded {name}")
    start_epoch = checkpoint["epoch"]
    print(f"Previous epoch: {start_epoch}")
    return start_epoch


def load_pretrained_weights(model: nn.Module, weight_path: str) -> None:
    """Copy those weights of a checkpoint whose names and shapes the model has, and say which not.

    Args:
        model: the model, changed in place.
        weight_path: a checkpoint or a bare state dict.
    """
    checkpoint = load_checkpoint(weight_path)
    weights = _without_module_prefix(checkpoint.get("state_dict", checkpoint))
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
    return OrderedDict((name.removeprefix("module."), value) for name, value in state_dict.items())


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
