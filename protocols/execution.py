"""Executing a run: what is finished is kept, what is not goes on, and no folder has two writers."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from . import settings
from .runs import Environment, Run
from .settings import ROOT

_LIBC = ctypes.CDLL(None)  # loaded here, since little is safe between fork and exec
_SET_PARENT_DEATH_SIGNAL = 1

LOCK = ".lock"
THREADS = 2
PATIENCE = 15
"""Seconds that a process gets to end, or to let go of a folder."""


class RunError(RuntimeError):
    """A run that cannot be executed or has failed."""


def read_json(path: Path) -> dict[str, Any]:
    """A file that a run has written.

    Raises:
        RunError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read: {error}. Move it away and the run will be tested again"
        ) from error
    if not isinstance(content, dict):
        raise RunError(f"{path} holds no results. Move it away and the run will be tested again")
    return content


def accuracy_of(results: dict[str, Any], path: Path) -> float:
    """The accuracy in a results.json, in percent."""
    try:
        return float(results["metrics"]["accuracy"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} holds no accuracy: move it away and test again") from error


def finished(run: Run, environment: Environment) -> float | None:
    """The accuracy of a finished run, or None where something is left to do.

    Raises:
        RunError: the folder holds a run with another configuration (names the keys), a test of
            other prompts, or results that cannot be read.
    """
    folder = environment.output / run.folder
    path = folder / "results.json"
    if not path.is_file():
        return None
    results = read_json(path)
    # imported here: they bring torch, which the help texts do not need
    import train
    from trainers.results import differing_keys, plain_config

    cfg = train.configure(train.parse_arguments(run.arguments(environment)))
    if differing := differing_keys(results.get("config", {}), plain_config(cfg)):
        raise RunError(
            f"{folder} holds a run with another configuration: {'; '.join(differing)}. Choose "
            "another output root (OUTPUT, --output), or move that folder away"
        )
    if run.trains:
        last_epoch = f"*/model.pth.tar-{cfg.OPTIM.MAX_EPOCH}"
        if results.get("split") != cfg.TEST.SPLIT or not any(folder.glob(last_epoch)):
            return None
    elif not _same_prompts(run, environment, folder):
        return None
    return accuracy_of(results, path)


def _same_prompts(run: Run, environment: Environment, folder: Path) -> bool:
    """Whether the prompts that a finished test loaded are those that it would load now."""
    from trainers.manifest import MANIFEST_FILE, file_digest

    model_dir = run.model_dir(environment)
    if model_dir is None:
        return True
    manifest = folder / MANIFEST_FILE
    if not manifest.is_file():
        return False
    tested = read_json(manifest).get("checkpoint") or {}
    path = Path(tested.get("path", ""))
    now = model_dir / Path(*path.parts[-2:])
    if now.is_file() and file_digest(now) == tested.get("sha256"):
        return True
    if path.parent.parent != model_dir:
        raise RunError(
            f"{folder} holds a test of the prompts in {path}, not of those in {model_dir}. Choose "
            "another output root (OUTPUT, --output), or move that folder away"
        )
    return False


@contextmanager
def sole_writer(folder: Path) -> Iterator[IO]:
    """Hold the lock of an output folder; the open file keeps it, in child processes too.

    Raises:
        RunError: another process holds it, and not as the remains of a killed run, whose data loading
            workers may take some seconds to notice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last_try = time.monotonic() + PATIENCE
    with open(folder / LOCK, "w", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > last_try:
                    raise RunError(
                        f"another process is writing into {folder}: wait for it, or stop it"
                    ) from error
                time.sleep(0.5)
        yield lock


def _die_with_parent() -> None:
    # on Linux a child can be ended with its parent, however that dies; elsewhere the lock remains
    if sys.platform == "linux":
        _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def check_data(run: Run, environment: Environment) -> None:
    """Raise RunError where this machine has no data root, before anything is started.

    Built-in data are drawn where they are missing, and people's own pictures need no root.
    """
    if run.dataset in (*settings.DATASETS, *settings.SHIFTED) and not environment.data.is_dir():
        raise RunError(
            f"{socket.gethostname()} has no data root {environment.data}: give the folder that holds "
            "the datasets (DATA, --data), or fetch them by `python -m datasets.download`"
        )


def child_environment(threads: int | None = None, device: str | None = None) -> dict[str, str]:
    """Environment variables of a run: number of threads, and the CUDA device where there is one.

    The number of threads changes the last digits of sums, so that it is the same everywhere unless
    somebody asks for another.
    """
    variables = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1")
    if threads or "OMP_NUM_THREADS" not in variables:
        variables |= dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads or THREADS)
        )
    if device is not None:
        variables["CUDA_VISIBLE_DEVICES"] = device
    return variables


@contextmanager
def started(
    run: Run,
    environment: Environment,
    console: IO | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Iterator[subprocess.Popen]:
    """Start train.py, alone in its output folder, in the root of the checkout.

    Args:
        run, environment: what to run.
        console: where it prints; None for where this process does.
        threads: threads of the process.
        device: CUDA device, by its number.

    Raises:
        RunError: the data root is missing, or another process is writing into the folder.
    """
    check_data(run, environment)
    with sole_writer(environment.output / run.folder) as lock:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "train.py", *run.arguments(environment)],
            cwd=ROOT,
            env=child_environment(threads, device),
            stdout=console,
            stderr=console and subprocess.STDOUT,
            pass_fds=[lock.fileno()],
            preexec_fn=_die_with_parent,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def run_here(run: Run, environment: Environment) -> None:
    """Execute one run in the foreground, unless it is finished.

    Raises:
        RunError: it cannot be started, or train.py failed (its message has been shown).
    """
    accuracy = finished(run, environment)
    folder = environment.output / run.folder
    if accuracy is not None:
        print(f"kept: {folder} is finished (accuracy {accuracy:.1f}%)", flush=True)
        return
    with started(run, environment) as process:
        status = process.wait()
    if status:
        raise RunError(f"the run in {folder} failed with status {status}")
