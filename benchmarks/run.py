"""Measure speed and memory of the methods against the plain formula path and against the floor.

    python -m benchmarks.run                                   # the quick suite, under 20 minutes
    python -m benchmarks.run --suite full --json figures.json  # hours on a CPU
    python -m benchmarks.run --only PromptSRC:train_step:500 CoCoOp:test:50

Ours, the plain path and the floor (the image-encoder passes that nothing can avoid) run in the same
process and take turns; every figure is the least of several. The plain path computes in fp32 on a CPU
and in fp16 on CUDA, as published, whatever the precision of ours. Weights are random, of ViT-B/16 size.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from prompting.files import write_atomically

from . import launches, measure, report, subject
from .plain import METHODS, PlainPath

CLASSES = (12, 50, 100, 500, 1000)
RATE = "images/s"
UNITS = {
    "text_encoder": "s",
    "build": "s",
    "train_step": "s",
    "test": RATE,
    "peak_memory": "bytes",
    "checkpoint_bytes": "bytes",
    "checkpoint_save": "s",
    "startup": "s",
}
TESTED_IMAGES = 2000
# images of the timed test batch; where the texts depend on the image, plain takes a second for each
TEST_BATCH, CONDITIONAL_TEST_BATCH = 100, 10
STARTUP = "PromptSRC"
# works of the quick suite by method and classes, and whether in reduced precision too
QUICK = {
    ("PromptSRC", 50): {
        "train_step": True,
        "text_encoder": False,
        "checkpoint_bytes": False,
        "checkpoint_save": False,
    },
    ("PromptSRC", 500): {"train_step": True, "text_encoder": False},
    ("CoOp", 50): {"train_step": False},
    ("CoCoOp", 50): {"train_step": False},
}
# floats that autograd keeps for a token in a layer of `clip`'s own blocks, in widths: 16 GB measured
# at 500 classes
PLAIN_KEEPS = 16


@dataclass
class Row:
    """One measurement; ours, plain and floor are None until measured or where they do not exist.

    Of a training step, what ours launches and how often the host waits for it (`launches.Counts`).
    """

    method: str
    work: str
    classes: int
    batch: int
    precision: str
    device: str
    ours: float | None = None
    plain: float | None = None
    floor: float | None = None
    unit: str = ""
    times_faster: float | None = None
    times_floor: float | None = None
    launches: int | None = None
    waits: int | None = None
    note: str = ""

    def fill(self, figures: dict[str, float]) -> None:
        """Enter figures and their ratios; for a rate more is better, for all else less."""
        self.ours, self.plain, self.floor = (figures.get(k) for k in ("ours", "plain", "floor"))
        sign = -1 if self.unit == RATE else 1
        if self.plain is not None:
            self.times_faster = (self.plain / self.ours) ** sign
        if self.floor is not None:
            self.times_floor = (self.ours / self.floor) ** sign


def suite(name: str, device: torch.device) -> list[Row]:
    """The rows of a suite, quick or full."""
    precisions = ("fp16", "bf16") if device.type == "cuda" else ("fp32", "bf16")
    everywhere = [
        Row(method, work, classes, _batch(method, work), precision, device.type)
        for method in subject.methods()
        for classes in CLASSES
        for work in UNITS
        for precision in precisions
        if work != "startup"
        and not (work == "text_encoder" and not _encodes_text_alone(METHODS[method]))
        and (precision == precisions[0] or work in ("text_encoder", "train_step", "test"))
    ]
    everywhere += [
        Row(method, "peak_memory", classes, 8, precisions[0], device.type)
        for method in subject.methods()
        for classes in CLASSES
        if METHODS[method].conditional
    ]
    everywhere.append(Row(STARTUP, "startup", 0, 4, "fp32", device.type))
    for row in everywhere:
        row.unit = UNITS[row.work]
    if name == "full":
        return everywhere
    return [row for row in everywhere if _is_quick(row, precisions)]


def _batch(method: str, work: str) -> int:
    if work != "test":
        return subject.published_batch(method)
    return CONDITIONAL_TEST_BATCH if METHODS[method].conditional else TEST_BATCH


def _encodes_text_alone(path: type[PlainPath]) -> bool:
    """Whether a step encodes texts, and under what is learned, without an image."""
    return path.learns_text and not path.conditional


def _is_quick(row: Row, precisions: Sequence[str]) -> bool:
    precise = row.precision == precisions[0]
    works = QUICK.get((row.method, row.classes), {})
    return row.work == "startup" or (row.work in works and (precise or works[row.work]))


def select(rows: Sequence[Row], only: Sequence[str]) -> list[Row]:
    """The rows METHOD:WORK:CLASSES.

    Raises:
        ValueError: there is no such row.
    """
    chosen = []
    for key in only:
        found = [row for row in rows if f"{row.method}:{row.work}:{row.classes}" == key]
        if not found:
            raise ValueError(
                f"there is no row {key}: expected METHOD:WORK:CLASSES with a method of "
                f"{', '.join(subject.methods())}, a work of {', '.join(UNITS)} and classes of "
                f"{', '.join(map(str, CLASSES))} (startup: {STARTUP}:startup:0)"
            )
        chosen += found
    return chosen


def run(row: Row, device: torch.device, sizes: dict[str, object] = subject.VIT_B16) -> None:
    """Measure one row."""
    if row.work == "startup":
        _startup(row)
    elif row.work == "peak_memory":
        _peak_memory(row, device, sizes)
    else:
        with tempfile.TemporaryDirectory() as folder:
            _in_process(row, device, sizes, Path(folder))


def _in_process(row: Row, device: torch.device, sizes: dict[str, object], folder: Path) -> None:
    """Fill a row whose paths all run in this process."""
    torch.manual_seed(0)
    if row.work in ("text_encoder", "train_step"):
        row.note = _lack_of_memory(row, device, sizes)
    ours = subject.build_ours(row.method, row.classes, row.precision, device, folder, sizes)
    plain = None if row.note else subject.build_plain(ours, device)
    file = folder / "plain.pth"
    if row.work == "test":
        figures = _test(row, ours, plain, sizes, device)
    elif row.work == "checkpoint_bytes":
        plain.end_epoch(file)
        figures = {"ours": ours.end_epoch().stat().st_size, "plain": file.stat().st_size}
    else:
        paths = _paths(row, ours, plain, sizes, device, file)
        figures = measure.interleaved(paths, device)
        if row.work == "train_step":
            counts = launches.count(paths["ours"], device)
            row.launches, row.waits = counts.launches, counts.waits.total()
    row.fill(figures)


def _paths(
    row: Row, ours, plain, sizes: dict[str, object], device: torch.device, file: Path
) -> dict[str, Callable[[], object]]:
    """What is timed, by path; plain may be missing."""
    if row.work == "build":
        return {"ours": ours.build, "plain": plain.build}
    if row.work == "checkpoint_save":
        return {"ours": ours.end_epoch, "plain": lambda: plain.end_epoch(file)}
    both = {"ours": ours} | ({"plain": plain} if plain else {})
    if row.work == "text_encoder":
        return {
            name: lambda path=path: path.encode_classes().sum().backward()
            for name, path in both.items()
        }
    batch = subject.images_and_labels(row.method, row.batch, row.classes, sizes, device)
    steps = {name: lambda path=path: path.step(*batch) for name, path in both.items()}
    return {**steps, "floor": ours.image_passes}


@torch.no_grad()
def _test(row: Row, ours, plain, sizes, device: torch.device) -> dict[str, float]:
    """Images a second over TESTED_IMAGES, from a batch's time and, once in ours, the class texts'."""
    images, _ = subject.images_and_labels(row.method, row.batch, row.classes, sizes, device)
    images = images[0] if isinstance(images, tuple) else images
    trainer = ours.trainer
    trainer.set_model_mode("eval")
    texts = 0.0
    if not plain.conditional:
        texts = measure.interleaved({"texts": ours.encode_classes}, device)["texts"]
    seconds = measure.interleaved(
        {
            "ours": lambda: trainer.model_inference(images),
            "floor": lambda: ours.model.encode_images(images),
            "plain": lambda: plain(images),
        },
        device,
    )
    batches = TESTED_IMAGES / row.batch
    return {
        name: TESTED_IMAGES / (batches * value + (texts if name == "ours" else 0))
        for name, value in seconds.items()
    }


def _lack_of_memory(row: Row, device: torch.device, sizes: dict[str, object]) -> str:
    """Why the plain path cannot train with so many classes here; empty where it can."""
    path = METHODS[row.method]
    tokens = 77 * row.classes * path.learns_text * (row.batch if path.conditional else 1)
    kept = PLAIN_KEEPS * tokens * sizes["transformer_width"] * sizes["transformer_layers"]
    needed = kept * (2 if device.type == "cuda" else 4)
    free = measure.free_memory(device)
    if needed < free:
        return ""
    return f"plain skipped: needs about {needed / 1e9:.0f} GB, {free / 1e9:.0f} GB are free"


def _peak_memory(row: Row, device: torch.device, sizes: dict[str, object]) -> None:
    figures = {}
    row.note = _lack_of_memory(row, device, sizes)
    for path in ("ours",) if row.note else ("ours", "plain"):
        figures[path] = measure.in_child(
            "benchmarks.step", path, row.method, row.classes, row.batch, row.precision, device
        )["peak_memory"]
    row.fill(figures)


def _startup(row: Row) -> None:
    """`train.py` on a built-in set, up to the line of its first step."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-u", "train.py", "--trainer", row.method, "--seed", "1"]
        command += ["--root", folder, "--output-dir", str(Path(folder, "output"))]
        command += ["--dataset-config-file", "configs/datasets/builtin_things.yaml"]
        command += ["--config-file", str(subject.config_path(row.method))]
        command += ["--backbone", "builtin-vit-small", "INPUT.SIZE", "(48, 48)"]
        command += ["--precision", row.precision, "DATASET.NUM_SHOTS", "1"]
        command += ["TRAIN.PRINT_FREQ", "1"]
        every = [_seconds_to_first_step(command) for _ in range(3)]
    # the first run draws the set, and is not counted
    row.fill({"ours": statistics.median(every[1:])})


def _seconds_to_first_step(command: Sequence[str]) -> float:
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=subject.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        tail = []
        for line in process.stdout:
            if re.match(r"epoch \[1/\d+\] batch \[1/", line):
                seconds = time.perf_counter() - start
                process.kill()
                return seconds
            tail = [*tail[-4:], line]
    raise RuntimeError(f"train.py did not reach its first step: {''.join(tail).strip()}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", choices=("quick", "full"), default="quick")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go as JSON")
    parser.add_argument("--only", nargs="+", metavar="METHOD:WORK:CLASSES", help="single rows")
    parser.add_argument("--batch", type=int, help="images of a step; as published by default")
    args = parser.parse_args(arguments)
    device = torch.device(args.device)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this PyTorch sees no CUDA device; use --device cpu")
    try:
        rows = select(suite("full", device), args.only) if args.only else suite(args.suite, device)
    except ValueError as error:
        parser.error(str(error))
    for row in rows:
        row.batch = args.batch or row.batch
    if missing := subject.without_plain_path():
        print(f"Passed over, without plain path or published settings: {', '.join(missing)}")
    done = []
    for row in tqdm(rows, disable=None):
        try:
            with subject.own_cache():
                run(row, device)
        except (RuntimeError, OSError) as error:
            row.note = f"not measured: {error}"
        done.append(row)
        if args.json:
            text = json.dumps(
                {"machine": measure.machine(device), "rows": [asdict(row) for row in done]},
                indent=2,
            )
            write_atomically(args.json, lambda path, text=text: path.write_text(text + "\n"))
    print(report.table([asdict(row) for row in done]))


if __name__ == "__main__":
    main()
