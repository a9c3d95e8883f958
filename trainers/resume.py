"""The file that a killed run goes on from: a training at the end of its last whole epoch."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prompting import checkpoints

RESUME_FILE = "resume.pth"


def random_state() -> dict[str, Any]:
    """The state of all random generators, in types that torch.load reads without pickle."""
    version, python, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(python), gauss],
        "numpy": [keys.tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore what `random_state` gave; CUDA's where the number of devices is the same."""
    version, python, gauss = state["python"]
    random.setstate((version, tuple(python), gauss))
    keys, *rest = state["numpy"]
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a resume state, atomically."""
    checkpoints.write_atomically(path, lambda temporary: torch.save(dict(state), temporary))


def load(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Read a resume state of the same method, backbone and form of prompts.

    Raises:
        checkpoints.CheckpointError: the file cannot be read, or was made for something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise checkpoints.CheckpointError(
            f"{path} cannot be read: {error}. Remove it to train from the start"
        ) from error
    checkpoints.check_header(path, state["identity"], identity)
    return state
