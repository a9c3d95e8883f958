"""Executing a run: what is finished is kept, what is not goes on, and no folder has two writers."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from filelock import FileLock, Timeout

from ..published import settings
from ..published.runs import Environment, Run
from ..published.settings import ROOT
from ..records import (
    MANIFEST_FILE,
    RESULTS_FILE,
    RecordError,
    accuracy_of,
    read,
    read_results,
)
from .interruptions import Interrupted, noted_interruptions

if TYPE_CHECKING:
    from yacs.config import CfgNode

_SET_PARENT_DEATH_SIGNAL = 1
# loaded here, since little is safe between fork and exec; other systems have no such call
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

LOCK = ".launched.lock"  # train.py has a lock of its own
THREADS = 2
WARNINGS = ("-W", "ignore", "-W", "default::UserWarning")
"""Shown are those that are meant for users, such as a training set smaller than one batch."""
PATIENCE = 15
"""Seconds that a process gets to end, or to let go of a folder."""


class RunError(RuntimeError):
    """A run that cannot be executed, for a reason that a user can mend."""


class RunFailed(RunError):
    """train.py ended with a status other than 0, and has said why."""

    def __init__(self, folder: Path, status: int) -> None:
        super().__init__(f"the run in {folder} failed with status {status}")
        self.status = status if status > 0 else 128 - status


def finished(run: Run, environment: Environment) -> float | None:
    """The accuracy of a finished run, or None where something is left to do.

    Raises:
        RunError: the folder holds a run with another configuration (names the keys), a test of
            other prompts, or results that cannot be read.
    """
    try:
        return _finished(run, environment)
    except RecordError as error:
        raise RunError(str(error)) from error


def _finished(run: Run, environment: Environment) -> float | None:
    folder = environment.output / run.folder
    path = folder / RESULTS_FILE
    if not path.is_file():
        return None
    results = read_results(path)
    cfg = configured(run, environment)
    # imported here: they bring torch, which the help texts do not need
    import train
    from trainers.results import differing_keys, plain_config

    if differing := differing_keys(results["config"], plain_config(cfg), train.default_config()):
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
    _refuse_other_inputs(cfg)
    return accuracy_of(results, path)


def configured(run: Run, environment: Environment) -> CfgNode:
    """The configuration of a run.

    Raises:
        RunError: what was given has no such key, or a value that does not fit.
    """
    import train

    try:
        return train.configure(train.parse_arguments(run.arguments(environment)))
    except (ValueError, OSError) as error:
        raise RunError(f"{run} cannot be configured: {error}") from error


def check_start(runs: Sequence[Run], environment: Environment, here: bool) -> None:
    """Refuse what would stop every run alike, before any of them is started.

    Args:
        runs: of a table.
        environment: of all of them.
        here: they run on this machine, whose data, backbone and devices then count.

    Raises:
        RunError: no run can be configured, or the data root, the precision or the backbone is none.
    """
    for run in runs[:1]:
        configured(run, environment)
    left = [run for run in runs if not (environment.output / run.folder / RESULTS_FILE).is_file()]
    for run in left[:1] if here else ():
        check_data(run, environment)
        _check_model(run, environment)


def _check_model(run: Run, environment: Environment) -> None:
    """Raise RunError where the precision is none of this machine, or the backbone no name of a CLIP."""
    import torch

    from prompting.backbone import hub, load_clip, open_clip, openai
    from prompting.builtin import BUILTIN
    from prompting.precision import resolve_precision

    name = configured(run, environment).MODEL.BACKBONE.NAME
    is_known = name in (*openai.NAMES, *BUILTIN) or name.startswith((open_clip.PREFIX, hub.PREFIX))
    try:
        if environment.precision:
            on = "cuda" if torch.cuda.is_available() else "cpu"
            resolve_precision(environment.precision, torch.device(on))
        if not is_known and not (ROOT / name).exists():
            load_clip(name)  # says what there is
    except ValueError as error:
        raise RunError(str(error)) from error


def _refuse_other_inputs(cfg: CfgNode) -> None:
    """Results count for the pictures and files that they are of; where pictures are gone, that is
    said."""
    from trainers.run_folder import changed_inputs

    try:
        changed = changed_inputs(cfg)
    except (ValueError, OSError) as error:
        print(f"{cfg.OUTPUT_DIR} is kept, but its pictures cannot be compared: {error}", flush=True)
        return
    if changed:
        raise RunError(
            f"{cfg.OUTPUT_DIR} holds results of other pictures or files: {'; '.join(changed)}. Put "
            "those back, choose another output root (OUTPUT, --output), or move that folder away"
        )


def _same_prompts(run: Run, environment: Environment, folder: Path) -> bool:
    """Whether the prompts that a finished test loaded are those that it would load now."""
    from trainers.named_files import file_digest

    model_dir = run.model_dir(environment)
    if model_dir is None:
        return True
    manifest = folder / MANIFEST_FILE
    if not manifest.is_file():
        return False
    tested = read(manifest).get("checkpoint")
    if not isinstance(tested, dict) or not isinstance(tested.get("path"), str):
        return False
    path = Path(tested["path"])
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
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of an output folder.

    Raises:
        RunError: another process holds it, and not as the remains of a killed run, whose data loading
            workers may take some seconds to notice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=PATIENCE, poll_interval=0.5)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunError(
            f"another process is writing into {folder}: wait for it, or stop it"
        ) from error
    except NotImplementedError:
        print(f"{folder} is on a disk without locks: see that only one run writes into it")
    try:
        yield
    finally:
        lock.release()


def _die_with_parent() -> None:
    _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def check_data(run: Run, environment: Environment) -> None:
    """Raise RunError where this machine has no data root, before anything is started.

    Built-in data are drawn where they are missing, and people's own pictures need no root.
    """
    if environment.data.exists() and not environment.data.is_dir():
        raise RunError(
            f"the data root {environment.data} is a file: give the folder that holds the datasets "
            "(DATA, --data)"
        )
    if run.dataset in (*settings.DATASETS, *settings.SHIFTED) and not environment.data.is_dir():
        raise RunError(
            f"{socket.gethostname()} has no data root {environment.data}: give the folder that holds "
            "the datasets (DATA, --data), or fetch them by `python -m datasets.download`"
        )


def is_taught(run: Run, environment: Environment) -> bool:
    """Whether what the run learns from is there, or it learns from no other run.

    A teacher counts that was trained with the run's KEY VALUE pairs, or without any.

    Raises:
        RunError: the teacher's folder holds something else.
    """
    teacher = run.teacher_in(environment)
    if not (teacher and run.trains):
        return True
    try:
        return finished(teacher, environment) is not None
    except RunError:
        return finished(teacher, replace(environment, options=())) is not None


def check_teacher(run: Run, environment: Environment) -> None:
    """Raise RunError where what the run learns from has not been trained."""
    if not is_taught(run, environment):
        teacher = run.teacher
        raise RunError(
            f"{run.method} learns from a {teacher.method}, which is not trained: "
            f"{environment.output / teacher.folder} holds no finished run of {teacher.config} on "
            f"{teacher.dataset}, seed {teacher.seed}. Give --with-teacher to train it first, or "
            f"another teacher by {run.teacher_option}"
        )


def child_environment(threads: int | None = None, device: str | None = None) -> dict[str, str]:
    """Environment variables of a run: number of threads, and the CUDA device where there is one.

    The number of threads changes the last digits of sums, so that it is the same everywhere unless
    somebody asks for another.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = dict(os.environ, PYTHONPATH=os.pathsep.join(paths), PYTHONUNBUFFERED="1")
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
    check_teacher(run, environment)
    with sole_writer(environment.output / run.folder):
        process = subprocess.Popen(
            [sys.executable, *WARNINGS, "train.py", *run.arguments(environment)],
            cwd=ROOT,
            env=child_environment(threads, device),
            stdout=console,
            stderr=console and subprocess.STDOUT,
            # on Linux a child can be ended with its parent, however that dies
            preexec_fn=_die_with_parent if _LIBC else None,
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
        Interrupted: Ctrl-C or SIGTERM came; train.py has been told, and has ended.
    """
    accuracy = finished(run, environment)
    folder = environment.output / run.folder
    if accuracy is not None:
        print(f"kept: {folder} is finished (accuracy {accuracy:.1f}%)", flush=True)
        return
    with noted_interruptions() as noted, started(run, environment) as process:
        status = _wait(process, noted)
    if noted:
        raise Interrupted(noted[0])
    if status:
        raise RunFailed(folder, status)


def _wait(process: subprocess.Popen, noted: Sequence[int]) -> int:
    """Wait for a process, and hand on what is noted: SIGTERM at once, Ctrl-C, of which a terminal
    tells the process as well, after some patience."""
    told, noted_at = False, 0.0
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(0.5)
        if noted and not told:
            noted_at = noted_at or time.monotonic()
            if noted[0] == signal.SIGTERM or time.monotonic() - noted_at > PATIENCE:
                process.terminate()
                told = True
