"""Executing runs on a Ray cluster: one task a run, all of them writing to shared storage."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, field
from typing import Any

from ..published.runs import Environment, Run
from ..published.settings import ROOT
from .single_run import RunError, started
from .sweep import Outcome, ended, open_console

RETRIES = 5
ANSWER_SECONDS = 10


def connect(address: str) -> None:
    """Connect to a running cluster.

    Args:
        address: HOST:PORT, ray://HOST:PORT, or "auto" for the cluster that this machine is part of.

    Raises:
        RunError: Ray is not installed, or nothing answers.
    """
    try:
        import ray
    except ImportError as error:
        raise RunError("Ray is not installed: pip install -r requirements-ray.txt") from error
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address != "auto":
        if not host or not port.isdecimal():
            raise RunError(f"the Ray address {address!r} is not HOST:PORT, ray://HOST:PORT or auto")
        try:
            socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
        except OSError as error:
            raise RunError(
                f"no Ray cluster answers at {address} ({error}): start one by `ray start --head`, or "
                "leave --ray out to run on this machine"
            ) from error
    try:
        ray.init(
            address=address,
            # workers import the checkout's own `datasets`, whatever else is installed
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError) as error:
        raise RunError(f"no Ray cluster answers at {address}: {error}") from error


def has_gpus() -> bool:
    """Whether any node of the connected cluster has a GPU."""
    import ray

    return ray.cluster_resources().get("GPU", 0) > 0


def _execute(run: Run, environment: Environment, threads: int) -> Outcome:
    """The task: one run, on the node where Ray has put it; CUDA devices are chosen by Ray."""
    try:
        with (
            open_console(run, environment) as console,
            started(run, environment, console, threads) as process,
        ):
            status = process.wait()
    except RunError as error:
        return Outcome(problem=str(error))
    return ended(run, environment, status)


@dataclass
class RayExecutor:
    """Tasks on the connected cluster, which queues them; a task whose worker is lost runs again.

    Attributes:
        environment: of all runs; data and output are paths on every node.
        threads: CPUs and threads of each run.
        gpus: of each run, a fraction where runs share one.
    """

    environment: Environment
    threads: int
    gpus: float
    _running: dict[Any, Run] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import ray

        self._task = ray.remote(_execute).options(
            num_cpus=self.threads, num_gpus=self.gpus, max_retries=RETRIES
        )

    def free(self) -> bool:
        return True

    def submit(self, run: Run) -> None:
        self._running[self._task.remote(run, self.environment, self.threads)] = run

    def collect(self) -> list[tuple[Run, Outcome]]:
        import ray

        ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [(self._running.pop(reference), _outcome(reference)) for reference in ready]

    def stop(self) -> None:
        import ray

        for reference in self._running:
            ray.cancel(reference, force=True)


def _outcome(reference: Any) -> Outcome:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        message = str(error).strip().splitlines()[-1]
        return Outcome(problem=f"the worker was lost more than {RETRIES} times: {message}")
