"""Time of using what was learned: files against ready tensors, ONNX Runtime against PyTorch, the start.

    python -m benchmarks.use --images 1000
    python -m benchmarks.use --images 24 --clock cpu    # beside other work: seconds of this work alone

A PromptSRC run of 50 classes with random weights of ViT-B/16 size classifies JPEG photographs (noise,
500 x 375 pixels) as predict.py does, with two processes that read. Beside it stand the same model on
as many tensors that are ready, and the exported graph on these. All take turns; figures are the least
of a few rounds. The start is predict.py on one picture with the built-in CLIP, to its end.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from tabulate import tabulate
from torch import Tensor

from inference import Classifier, onnx_graph
from inference.preprocessing import Preprocessing
from prompting.builtin import BUILTIN

from . import measure, subject
from .photographs import write_photographs

METHOD, CLASSES, BATCH, WORKERS = "PromptSRC", 50, 100, 2
HEADERS = ("work", "precision", "pictures", "seconds", "beside", "seconds of that", "times")


def seconds_of_all_processes() -> float:
    """Processor time of this process and of those that it has waited for."""
    return sum(os.times()[:4])


CLOCKS = {"wall": time.perf_counter, "cpu": seconds_of_all_processes}


def build(precision: str, folder: Path, sizes: dict[str, object]) -> Classifier:
    """What a run of a CLIP of these sizes would load as."""
    device = torch.device("cpu")
    trainer = subject.build_ours(METHOD, CLASSES, precision, device, folder, sizes).trainer
    trainer.set_model_mode("eval")
    preprocessing = Preprocessing.of_config(trainer.cfg)
    backbone = trainer.cfg.MODEL.BACKBONE.NAME
    return Classifier(trainer.model, trainer.precision, preprocessing, METHOD, backbone, BATCH)


def from_files(
    classifier: Classifier, paths: list[str], ready: list[Tensor], clock: Callable[[], float]
) -> tuple[float, float]:
    """Seconds for all files, and for as many tensors."""

    def tensors() -> None:
        for images in ready:
            with torch.no_grad():
                classifier.model(images).float().softmax(1)

    def files() -> None:
        deque(classifier.stream(paths, top=5, workers=WORKERS), maxlen=0)

    found = measure.interleaved(
        {"files": files, "tensors": tensors}, torch.device("cpu"), repeats=3, clock=clock
    )
    return found["files"], found["tensors"]


def in_onnx(
    graph: Path, classifier: Classifier, ready: list[Tensor], clock: Callable[[], float]
) -> tuple[float, float]:
    """Seconds of ONNX Runtime in fp32 for the tensors, and of PyTorch in the classifier's precision."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def theirs() -> None:
        for images in ready:
            session.run([onnx_graph.OUTPUT], {onnx_graph.INPUT: images.numpy()})

    def ours() -> None:
        for images in ready:
            with torch.no_grad():
                classifier.model(images).float()

    found = measure.interleaved(
        {"onnx": theirs, "torch": ours}, torch.device("cpu"), repeats=3, clock=clock
    )
    return found["onnx"], found["torch"]


def start(picture: str, clock: Callable[[], float]) -> float:
    """Seconds of predict.py from its start to its end, the least of three."""
    (backbone,) = (name for name in BUILTIN if name.startswith("builtin"))
    command = [sys.executable, "-W", "ignore", "predict.py", picture, "--zero-shot", backbone]
    command += ["--classes", "rose", "tulip"]
    seconds = []
    for _ in range(3):
        begun = clock()
        subprocess.run(command, cwd=subject.ROOT, check=True, capture_output=True)
        seconds.append(clock() - begun)
    return min(seconds)


def rows(
    count: int, clock: Callable[[], float], sizes: dict[str, object] = subject.VIT_B16
) -> list[tuple[object, ...]]:
    """The table's rows, of so many pictures."""
    found: list[tuple[object, ...]] = []

    def add(work: str, precision: str, seconds: float, beside: str, other: float) -> None:
        found.append((work, precision, count, seconds, beside, other, seconds / other))

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = write_photographs(folder, count)
        for precision in ("fp32", "bf16"):
            classifier = build(precision, folder, sizes)
            side = classifier.preprocessing.resolution
            ready = list(torch.randn(count, 3, side, side).split(BATCH))
            seconds, floor = from_files(classifier, paths, ready, clock)
            add("JPEG files", precision, seconds, "ready tensors", floor)
            if precision == "fp32":
                onnx_graph.export(classifier, folder / "graph.onnx")
            seconds, ours = in_onnx(folder / "graph.onnx", classifier, ready, clock)
            add("ONNX Runtime", "fp32", seconds, f"PyTorch in {precision}", ours)
        found.append(("start", "fp32", 1, start(paths[0], clock), "", None, None))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    given = parser.parse_args()
    if given.images < 1:
        parser.error(f"--images is {given.images}: expected at least 1")
    found = rows(given.images, CLOCKS[given.clock])
    print(tabulate(found, HEADERS, "github", floatfmt=("", "", "", ".3g", "", ".3g", ".3f")))


if __name__ == "__main__":
    main()
