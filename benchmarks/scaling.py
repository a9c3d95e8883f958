"""What a PromptSRC step costs as classes, batch and depth grow: measured, and by the model of cost.

    python -m benchmarks.scaling --csv docs/scaling.csv --plot docs/scaling.svg

The model's operations become seconds at one rate, that of the image encoder's passes in this run.
The number of shots does not change a step; it multiplies the steps of a run.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from . import costs, measure, subject

DEFAULTS = {"classes": 50, "batch": 4, "depth": 9}
VALUES = {
    "classes": (12, 50, 100, 200, 500, 1000),
    "batch": (1, 2, 4, 8, 16),
    "depth": (1, 3, 6, 9, 12),
}
SHOTS = (1, 2, 4, 8, 16)
FEW_SHOT_EPOCHS, FEW_SHOT_CLASSES, FEW_SHOT_BATCH = 50, 100, 4


@dataclass
class Point:
    """One measured step; flops by the model of cost, plain_flops as PyTorch counts the plain path."""

    axis: str
    value: int
    seconds: float
    image_seconds: float
    flops: float
    image_flops: float
    plain_flops: float


def measure_step(axis: str, value: int, device: torch.device, precision: str) -> Point:
    """A PromptSRC step with one of classes, batch and depth changed."""
    setting = {**DEFAULTS, axis: value}
    sizes, classes, batch = subject.VIT_B16, setting["classes"], setting["batch"]
    node = "TRAINER.PROMPTSRC.PROMPT_DEPTH_"
    depth = (f"{node}VISION", setting["depth"], f"{node}TEXT", setting["depth"])
    with tempfile.TemporaryDirectory() as folder:
        ours = subject.build_ours(
            "PromptSRC", classes, precision, device, Path(folder), options=depth
        )
        images, labels = subject.images_and_labels("PromptSRC", batch, classes, sizes, device)
        seconds = measure.interleaved(
            {"step": lambda: ours.step(images, labels), "image": ours.image_passes},
            device,
            repeats=3,
        )
        text, image = costs.step(ours.passes)
        plain = subject.build_plain(ours, costs.META)
    images, labels = images.to(costs.META), labels.to(costs.META)
    counted = costs.counted(lambda: plain.backward(images, labels))
    return Point(axis, value, seconds["step"], seconds["image"], text + image, image, counted)


def plot(points: Sequence[Point], path: Path) -> None:
    """Four panels: classes, batch, depth, and the hours of a few-shot run against shots."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rate = statistics.median(p.image_flops / p.image_seconds for p in points)
    figure, panels = pyplot.subplots(2, 2, figsize=(9, 7), layout="constrained")
    for axis, panel in zip(VALUES, panels.flat, strict=False):
        own = [p for p in points if p.axis == axis]
        x = [p.value for p in own]
        panel.plot(x, [p.plain_flops / rate for p in own], ":", label="plain, model")
        panel.plot(x, [p.flops / rate for p in own], "--", label="ours, model")
        panel.plot(x, [p.seconds for p in own], "o-", label="ours, measured")
        panel.plot(x, [p.image_seconds for p in own], "s-", label="floor, measured", markersize=3)
        panel.set(xlabel=axis, ylabel="seconds a step", yscale="log")
        if axis == "classes":
            panel.set_xscale("log")
    panels.flat[0].legend()
    step = next(p for p in points if (p.axis, p.value) == ("classes", FEW_SHOT_CLASSES)).seconds
    hours = [
        FEW_SHOT_EPOCHS * (shots * FEW_SHOT_CLASSES // FEW_SHOT_BATCH) * step / 3600
        for shots in SHOTS
    ]
    panels.flat[3].plot(SHOTS, hours, "o-")
    panels.flat[3].set(
        xlabel="shots", ylabel=f"hours of {FEW_SHOT_EPOCHS} epochs, {FEW_SHOT_CLASSES} classes"
    )
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--plot", type=Path, required=True)
    args = parser.parse_args()
    wanted = [(axis, value) for axis, values in VALUES.items() for value in values]
    points = [
        measure_step(axis, value, torch.device(args.device), args.precision)
        for axis, value in tqdm(wanted, disable=None)
    ]
    with args.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, asdict(points[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(asdict, points))
    plot(points, args.plot)


if __name__ == "__main__":
    main()
