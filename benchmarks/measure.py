"""Clocks and scales: interleaved minima, and the peak memory of a child process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

PATIENCE = 60.0
"""Seconds that one path of one row may take; it runs once all the same."""
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""By name. Seconds that others had the core are not in those of "cpu", which is for one thread."""


def interleaved(
    paths: Mapping[str, Callable[[], object]],
    device: torch.device,
    repeats: int = 7,
    patience: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The least seconds of each path, the paths taking turns so that a busy machine slows all alike.

    Every path runs once to warm up; a run of more than half of the patience (PATIENCE by default) needs
    no warming up, and counts. Slow paths take part in fewer rounds.
    """
    patience = PATIENCE if patience is None else patience
    rounds, times = {}, {}
    for name, path in paths.items():
        warm_up = _timed(path, device, clock)
        rounds[name] = min(repeats, int(patience / warm_up))
        times[name] = [warm_up] if warm_up > patience / 2 else []
    most = max(rounds.values())
    for index in range(most):
        for name, path in paths.items():
            # the rounds of a slow path are spread over those of the others
            if index * rounds[name] % most < rounds[name]:
                times[name].append(_timed(path, device, clock))
    return {name: min(values) for name, values in times.items()}


def _timed(path: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> float:
    _wait(device)
    start = clock()
    path()
    _wait(device)
    return clock() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Start to look for a new peak (on the CPU: of this process, Linux only)."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        # what the allocator keeps of freed memory would be taken again without a trace
        with contextlib.suppress(AttributeError):  # not glibc
            ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak since `reset_peak_memory`: device memory, or this process's resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def in_child(module: str, *arguments: object) -> dict[str, float]:
    """Run a module of this project in a new process and read the JSON that ends its output."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(
            f"{module} {' '.join(map(str, arguments))} ended with code {done.returncode}: "
            f"{done.stderr.strip().splitlines()[-1:] or 'killed, likely for lack of memory'}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def free_memory(device: torch.device) -> int:
    """Bytes that a path could still take."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0]) * 1024


def machine(device: torch.device) -> dict[str, object]:
    """What the figures were taken on."""
    model = platform.processor()
    if Path("/proc/cpuinfo").is_file():
        model = Path("/proc/cpuinfo").read_text().partition("model name\t: ")[2].partition("\n")[0]
    return {
        "cpu": model,
        "threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "amx_bf16": bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(),
    }
