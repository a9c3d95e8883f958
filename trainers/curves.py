"""What changes over a training: losses, rate and time of every epoch, and tests in between."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prompting.errors import InputError
from prompting.files import write_atomically

CURVES_FILE = "curves.json"


class Curves:
    """The file curves.json of a run: {"epochs": [...], "tests": [...]}.

    An epoch: its number from 1, steps, seconds, learning rate at its end, and the mean of every value
    that forward_backward returns. A test: epoch, prompts ("current" or "average"), classes, total
    and accuracy in percent. Written whole after each epoch; a resumed run keeps the epochs it keeps.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self.tests: list[dict[str, Any]] = []
        self.start_epoch_anew()

    def resume(self, directory: str | Path, epochs_done: int) -> None:
        """Take over what a folder's file says of the epochs that count as done.

        Raises:
            InputError: the file is damaged.
        """
        if not epochs_done:
            return
        kept = read(directory)
        self.epochs = [e for e in kept["epochs"] if e["epoch"] <= epochs_done]
        self.tests = [t for t in kept["tests"] if t["epoch"] <= epochs_done]

    def start_epoch_anew(self) -> None:
        """Forget the steps since the last epoch's end."""
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._steps = 0
        self._since = time.perf_counter()

    def add_step(self, summary: Mapping[str, float]) -> None:
        """Count a step and what forward_backward said of it."""
        self._steps += 1
        for name, value in summary.items():
            self._sums[name] += value

    def end_epoch(self, epoch: int, learning_rate: float) -> None:
        """Sum up the steps since the last call, as epoch number `epoch`, counted from 1."""
        means = {name: value / self._steps for name, value in self._sums.items()}
        self.epochs.append(
            {
                "epoch": epoch,
                "steps": self._steps,
                "seconds": time.perf_counter() - self._since,
                "learning_rate": learning_rate,
                **means,
            }
        )
        self.start_epoch_anew()

    def add_test(self, **test: Any) -> None:
        """Add the result of a test."""
        self.tests.append(test)

    def tested(self, epoch: int) -> bool:
        """Whether there are tests of an epoch."""
        return any(test["epoch"] == epoch for test in self.tests)

    def save(self, directory: str | Path) -> None:
        """Write the file."""
        text = json.dumps({"epochs": self.epochs, "tests": self.tests}, indent=1)
        write_atomically(
            Path(directory, CURVES_FILE),
            lambda path: path.write_text(f"{text}\n", encoding="utf-8"),
        )


def read(directory: str | Path) -> dict[str, list[dict[str, Any]]]:
    """The content of a folder's file; without one, no epochs and no tests.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(directory, CURVES_FILE)
    if not path.is_file():
        return {"epochs": [], "tests": []}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        epochs, tests = content["epochs"], content["tests"]
        numbers = [each[name] for each in epochs for name in ("steps", "seconds")]
        whole = (
            type(epochs) is type(tests) is list
            and all(type(each["epoch"]) is int for each in (*epochs, *tests))
            and all(type(each) in (int, float) and math.isfinite(each) for each in numbers)
        )
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path) from error
    if not whole:
        raise _damaged(path)
    return content


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path} is empty or damaged. Remove it: a run goes on without it, and only the curves of its "
        "earlier epochs will be missing"
    )
