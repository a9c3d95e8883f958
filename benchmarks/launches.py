"""What a step asks of the device, and how often the host waits for a value of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

# by which Python takes a value out of a tensor
_READS = {
    getattr(Tensor, name): name
    for name in (
        *("item", "tolist", "numpy", "cpu", "__array__", "__bool__", "__int__", "__float__"),
        *("__index__", "__complex__"),
    )
}
# whose result's shape depends on values
_SIZED_BY_VALUES = ("nonzero", "masked_select", "repeat_interleave", "_unique2", "unique_dim")
_MASKS = (torch.bool, torch.uint8)
# what CUDA's runtime is asked for, as the profiler names it
_LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch")
_COPIES = ("cudaMemcpy", "cudaMemset")
_WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaDeviceSynchronize")


@dataclass(frozen=True)
class Counts:
    """launches: kernels, whole graphs, copies and fills that are asked for; on a CPU, operations that
    compute. waits: for values on the host, by what asks for them."""

    launches: int
    waits: Counter[str]


class _Python(TorchFunctionMode):
    """Reads by Python, of which the operations below see nothing on a CPU."""

    def __init__(self, waits: Counter[str]) -> None:
        self.waits = waits
        super().__init__()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in _READS:
            self.waits[_READS[func]] += 1
            with torch._C.DisableTorchFunction():
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    """Operations that are not views, and those among them that no device can do without the host."""

    def __init__(self, waits: Counter[str]) -> None:
        self.waits, self.count = waits, 0
        super().__init__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view
        name = func._schema.name.partition("::")[2]
        if name in _SIZED_BY_VALUES or (name.startswith("index") and _has_mask(args)):
            self.waits[name] += 1
        return func(*args, **(kwargs or {}))


def _has_mask(args: tuple) -> bool:
    lists = [each for each in args if isinstance(each, (list, tuple))]
    return any(isinstance(e, Tensor) and e.dtype in _MASKS for each in lists for e in each)


def count(step: Callable[[], object], device: torch.device) -> Counts:
    """Count in one call of a step that has run before, since a first call also builds what is kept."""
    return _on_cuda(step) if device.type == "cuda" else _on_cpu(step)


def _on_cpu(step: Callable[[], object]) -> Counts:
    waits: Counter[str] = Counter()
    with _Operations(waits) as operations, _Python(waits):
        step()
    return Counts(operations.count, waits)


def _on_cuda(step: Callable[[], object]) -> Counts:
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        step()
    events = {event.key: event.count for event in profiler.key_averages()}
    launches = sum(n for key, n in events.items() if key.startswith((*_LAUNCHES, *_COPIES)))
    waits = Counter({key: n for key, n in events.items() if key in _WAITS})
    # one for the end of profiling
    waits["cudaDeviceSynchronize"] -= 1
    return Counts(launches, +waits)
