"""manifest.json beside each result: all that one needs to know to make, or doubt, the number."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

try:
    import resource
except ImportError:  # on Windows
    resource = None

from prompting.files import write_atomically

from . import pictures
from .named_files import file_digest
from .results import used_config

MANIFEST_FILE = "manifest.json"
_PACKAGES = ("torchvision", "clip-anytorch", "numpy", "pillow", "yacs", "dassl-engine")
_ROOT = Path(__file__).resolve().parent.parent


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each package that is there."""
    found = {}
    for package in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


@cache
def _git_commit() -> str | None:
    """The commit of this checkout, with "+changes" where files differ from it."""
    try:
        git = ["git", "-C", str(_ROOT)]
        kind = {"capture_output": True, "text": True, "check": True, "timeout": 10}
        if (
            Path(subprocess.run([*git, "rev-parse", "--show-toplevel"], **kind).stdout.strip())
            != _ROOT
        ):
            return None
        commit = subprocess.run([*git, "rev-parse", "HEAD"], **kind).stdout.strip()
        changes = subprocess.run([*git, "status", "--porcelain", "-uno"], **kind).stdout
        return commit + ("+changes" if changes else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _peak_memory(device: torch.device) -> dict[str, int]:
    """Bytes: of this process without its workers where it is known, and of tensors on the device."""
    unit, memory = 1 if sys.platform == "darwin" else 1024, {}
    if resource is not None:
        memory["process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if device.type == "cuda":
        memory["device"] = torch.cuda.max_memory_allocated(device)
    return memory


def write_manifest(trainer: Any, test_seconds: float) -> None:
    """Write manifest.json into the output folder after a test.

    Args:
        trainer: the trainer that has been tested.
        test_seconds: how long the test took.
    """
    device, epochs = trainer.device, trainer.curves.epochs
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    checkpoint = trainer.tested_checkpoint
    manifest = {
        "command": shlex.join([sys.executable, *sys.argv]),
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {
            "torch": str(torch.__version__),  # names the CUDA build, as its metadata may not
            **versions(_PACKAGES),
        },
        "device": gpu or f"{device.type} ({platform.processor() or platform.machine()})",
        "threads": torch.get_num_threads(),
        "seed": trainer.cfg.SEED,
        "digests": {
            "backbone": trainer.model.clip.fingerprint,
            **dict(pictures.digests(trainer.dm.dataset, ("train_x", "val", "test"))),
        },
        "checkpoint": checkpoint and {"path": str(checkpoint), "sha256": file_digest(checkpoint)},
        "training": {
            "epochs": len(epochs),
            "steps": sum(epoch["steps"] for epoch in epochs),
            "seconds": sum(epoch["seconds"] for epoch in epochs),
        },
        "test_seconds": test_seconds,
        "frozen_features": trainer.stored.describe(),
        "peak_memory_bytes": _peak_memory(device),
        "config": used_config(trainer.cfg),
    }
    text = json.dumps(manifest, indent=2)
    path = Path(trainer.cfg.OUTPUT_DIR, MANIFEST_FILE)
    write_atomically(path, lambda temporary: temporary.write_text(f"{text}\n", encoding="utf-8"))
