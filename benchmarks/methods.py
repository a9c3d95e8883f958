"""Compare all methods: each against its plain path, by time, memory and counted matrix products.

    python -m benchmarks.methods docs/methods.csv
    python -m benchmarks.methods docs/methods.csv --methods CoOp MaPLe --clock cpu --plain-classes 150
    python -m benchmarks.methods docs/methods.csv --table     # of what is there, for docs/benchmarks.md

Steps of ViT-B/16 size with 50 and with 500 classes, the batch and all settings as published, every path
in a process of its own; and ours once more at a batch of 4, at which methods can be compared with each
other. Rows of other methods in the file stay as they are.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from tqdm import tqdm

from prompting.files import write_atomically

from . import measure, subject

CLASSES = (50, 500)
EQUAL_BATCH = 4
BASELINE = "CoOp"
BOTH = ("seconds", "peak_memory")
OURS = ("image_seconds", "text_flops", "image_flops", "plain_flops")

Figures = Mapping[str, float]


def step(path: str, method: str, classes: int, batch: int, args: argparse.Namespace) -> Figures:
    """The figures of one path's step, from a process of its own."""
    flags = ("--clock", args.clock, "--patience", args.patience)
    about = (path, method, classes, batch, args.precision, args.device, *flags)
    return measure.in_child("benchmarks.step", *about)


def row(method: str, args: argparse.Namespace) -> dict[str, Any]:
    """All figures of a method."""
    device, batch = torch.device(args.device), subject.published_batch(method)
    ours, plain = {}, {}
    for classes in CLASSES:
        # turn by turn, on a machine that may get busy
        ours[classes] = step("ours", method, classes, batch, args)
        possible = min(classes, args.plain_classes or classes)
        plain[possible] = step("plain", method, possible, batch, args)
    figures: dict[str, Any] = {
        "method": method,
        "config": subject.setting(method).config,
        "batch": batch,
        "learned_parameters": ours[CLASSES[0]]["learned_parameters"],
        "file_bytes": ours[CLASSES[0]]["file_bytes"],
    }
    for classes in CLASSES:
        own = ours[classes]
        figures[f"step_seconds_{classes}"] = own["seconds"]
        figures[f"peak_memory_{classes}"] = own["peak_memory"]
        figures[f"plain_seconds_{classes}"] = on_line(plain, "seconds", classes)
        there = plain.get(classes, {"peak_memory": own["plain_held"]})
        figures[f"plain_peak_memory_{classes}"] = there["peak_memory"]
        figures |= {f"{key}_{classes}": own[key] for key in OURS}
    for classes in CLASSES:
        equal = ours[classes]
        if batch != EQUAL_BATCH:
            equal = step("ours", method, classes, EQUAL_BATCH, args)
        for key, name in zip(BOTH, ("step_seconds", "peak_memory"), strict=True):
            figures[f"{name}_{classes}_equal_batch"] = equal[key]
    machine = measure.machine(device)
    return {
        **figures,
        "equal_batch": EQUAL_BATCH,
        "plain_measured_at": " ".join(map(str, plain)),
        "device": machine["gpu"] or machine["cpu"],
        "precision": args.precision,
        "clock": args.clock,
        "threads": 1 if args.clock == "cpu" else machine["threads"],
    }


def on_line(measured: Mapping[int, Figures], key: str, classes: int) -> float:
    """A figure at a number of classes, as measured or on the line through two other numbers: the plain
    path encodes 77 tokens a class."""
    if classes in measured:
        return measured[classes][key]
    first, second = measured
    slope = (measured[second][key] - measured[first][key]) / (second - first)
    return measured[second][key] + slope * (classes - second)


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of a file by method; none where there is no file."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {each["method"]: each for each in csv.DictReader(file)}


def write(path: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Write rows in the order of the methods' papers."""
    ordered = [rows[name] for name in subject.methods() if name in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, ordered[-1], lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(ordered)
    write_atomically(path, lambda part: part.write_text(text.getvalue(), encoding="utf-8"))


def tables(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Time against the plain path and the floor; and what each method takes; in Markdown."""
    times = [_times(each, classes) for each in rows.values() for classes in CLASSES]
    taken = [_taken(each, rows.get(BASELINE)) for each in rows.values()]
    return "\n\n".join(
        tabulate(table, headers="keys", tablefmt="github", disable_numparse=True)
        for table in (times, taken)
    )


def speed(figures: Mapping[str, Any], classes: int) -> dict[str, float]:
    """Times faster than the plain path, and times the image passes alone; measured and counted."""
    keys = ("step_seconds", "plain_seconds", *OURS)
    value = {key: float(figures[f"{key}_{classes}"]) for key in keys}
    flops = value["text_flops"] + value["image_flops"]
    return {
        "faster": value["plain_seconds"] / value["step_seconds"],
        "faster_counted": value["plain_flops"] / flops,
        "floor": value["step_seconds"] / value["image_seconds"],
        "floor_counted": flops / value["image_flops"],
    }


def _times(figures: Mapping[str, Any], classes: int) -> dict[str, str]:
    ratio = speed(figures, classes)
    seconds = {
        name: f"{float(figures[f'{key}_{classes}']):.3g} s"
        for name, key in (
            ("ours", "step_seconds"),
            ("plain", "plain_seconds"),
            ("image passes", "image_seconds"),
        )
    }
    return {
        "method": figures["method"],
        "batch": figures["batch"],
        "classes": str(classes),
        **seconds,
        "times faster": f"{ratio['faster']:.2f}",
        "counted": f"{ratio['faster_counted']:.2f}",
        "of the counted": f"{ratio['faster'] / ratio['faster_counted']:.0%}",
        "times the image passes": f"{ratio['floor']:.2f}",
        "as counted": f"{ratio['floor_counted']:.2f}",
    }


def _taken(figures: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> dict[str, str]:
    most = CLASSES[-1]
    memory = {key: float(figures[f"{key}_{most}"]) for key in ("peak_memory", "plain_peak_memory")}
    table = {
        "method": figures["method"],
        "learned numbers": f"{int(figures['learned_parameters']):,}",
        "file": f"{float(figures['file_bytes']) / 1e6:.2f} MB",
        f"peak memory, {most} classes": f"{memory['peak_memory'] / 1e9:.2f} GB",
        "plain": f"{memory['plain_peak_memory'] / 1e9:.2f} GB",
        "plain / ours": f"{memory['plain_peak_memory'] / memory['peak_memory']:.1f}",
    }
    for key, name in (("step_seconds", "step"), ("peak_memory", "memory")):
        for classes in CLASSES if baseline else ():
            column = f"{key}_{classes}_equal_batch"
            relative = float(figures[column]) / float(baseline[column])
            table[f"{name} / {BASELINE}'s, {classes}"] = f"{relative:.2f}"
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", type=Path, help="where the rows go, one a method")
    parser.add_argument("--methods", nargs="+", choices=subject.methods(), metavar="METHOD")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", default="fp32", help="of ours")
    parser.add_argument(
        "--clock",
        choices=measure.CLOCKS,
        default="wall",
        help="cpu: one thread, without the seconds that other work had the core",
    )
    parser.add_argument("--patience", type=float, default=measure.PATIENCE, help="seconds a path")
    parser.add_argument(
        "--plain-classes",
        type=int,
        metavar="N",
        help=f"measure the plain path up to so many classes (more than {CLASSES[0]}): beyond, its time "
        "is taken from a straight line, and its memory counted (500 classes take 16 GB)",
    )
    parser.add_argument("--table", action="store_true", help="only print tables of the file")
    args = parser.parse_args(arguments)
    if args.plain_classes and args.plain_classes <= CLASSES[0]:
        parser.error(f"--plain-classes {args.plain_classes}: expected more than {CLASSES[0]}")
    rows = read(args.csv)
    if args.table and not rows:
        parser.error(f"--table: there is no {args.csv}, or no row in it; run without --table first")
    if not args.table:
        if missing := subject.without_plain_path():
            print(f"Passed over, without plain path or published settings: {', '.join(missing)}")
        for method in tqdm(args.methods or subject.methods(), disable=None):
            rows[method] = row(method, args)
            write(args.csv, rows)
    print(tables(rows))


if __name__ == "__main__":
    main()
