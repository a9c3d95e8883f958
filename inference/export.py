"""What a run has learned, in files that others read.

    python -m inference.export RUN --onnx FILE.onnx
    python -m inference.export RUN --features FILE.safetensors
    python -m inference.export RUN --prompts FILE.safetensors

--onnx: from pictures to logits in one graph, with FILE.json beside it (class names, preprocessing);
compared with PyTorch at once. --features: the class features and the scale of the logits. --prompts:
the file to share, from which `predict.py FILE` classifies where the same CLIP is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from prompting import checkpoints
from prompting.command_line import Parser
from prompting.errors import InputError
from prompting.files import write_atomically

from . import onnx_graph, outputs, runs
from .answers import write
from .classifier import Classifier
from .listing import read_classes

FOLDERS = ("ROOT", "DIR", "CSV", "CLASSNAMES")
"""What a configuration of data says of a machine."""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line.

    Raises:
        InputError: an unknown flag, no file to write, or one that could not be written or would take
            the place of something else.
    """
    parser = Parser(
        prog="python -m inference.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="the folder of a finished training, or a file of prompts")
    add("--onnx", type=Path, metavar="FILE", help="the graph, and FILE.json beside it")
    add("--features", type=Path, metavar="FILE", help="class features, as safetensors")
    add("--prompts", type=Path, metavar="FILE", help="the file to share, as safetensors")
    add("--classes", nargs="+", metavar="NAME", help="other class names than the run's")
    add("--classes-file", type=Path, metavar="FILE", help="class names, a line each")
    add("--backbone", help="the CLIP, where the one that RUN names lies elsewhere here")
    add("--debug", action="store_true", help="show the traceback of every error")
    given = parser.parse_args(arguments)
    wanted = {"--onnx": ".onnx", "--features": ".safetensors", "--prompts": ".safetensors"}
    files = {flag: path for flag in wanted if (path := getattr(given, flag.removeprefix("--")))}
    if not files:
        raise InputError(f"nothing is to be written: give {' or '.join(wanted)} and a file")
    for flag, path in files.items():
        if path.suffix != wanted[flag]:
            raise InputError(f"{flag} is {path}: expected a name that ends in {wanted[flag]}")
    if given.features and given.features == given.prompts:
        raise InputError("--features and --prompts name the same file: give two")
    if given.classes and given.classes_file:
        raise InputError("--classes and --classes-file are both given: keep one of them")
    if given.onnx:
        outputs.check_graph(given.onnx)
    if given.features:
        outputs.check_output(given.features, outputs.FEATURES)
    if given.prompts:
        outputs.check_output(given.prompts, outputs.PROMPTS)
    return given


def describe(classifier: Classifier) -> dict[str, Any]:
    """In plain values, what classifies and what becomes of a picture first."""
    side = classifier.preprocessing.resolution
    return {
        "method": classifier.method,
        "backbone": classifier.backbone,
        "classes": classifier.classes,
        "preprocessing": classifier.preprocessing.steps,
        "input": {"name": onnx_graph.INPUT, "type": "float32", "shape": ["batch", 3, side, side]},
        "output": {
            "name": onnx_graph.OUTPUT,
            "type": "float32",
            "shape": ["batch", len(classifier.classes)],
            "probabilities": "softmax over the classes",
        },
    }


def write_onnx(classifier: Classifier, path: Path) -> tuple[int, onnx_graph.Comparison]:
    """Write the graph and its description; returns the opset, and how it compares with PyTorch.

    Raises:
        InputError: it cannot be exported, or gives other logits: then nothing is written.
    """
    found: list[Any] = []

    def to_file(temporary: Path) -> None:
        found.append(onnx_graph.export(classifier, temporary))
        found.append(comparison := onnx_graph.compare(classifier, temporary))
        if not comparison.holds:
            raise InputError(
                f"the ONNX graph of {classifier.method} gives other logits than PyTorch: "
                f"{_said(comparison)}. Use another version of torch or onnxruntime; nothing is written"
            )

    write_atomically(path, to_file)
    text = json.dumps({**describe(classifier), "opset": found[0]}, indent=1, ensure_ascii=False)
    write(outputs.labels_of(path), lambda file: file.write(f"{text}\n"))
    return found[0], found[1]


def _said(comparison: onnx_graph.Comparison) -> str:
    return (
        f"labels equal on {comparison.equal} of {comparison.count} pictures, logits within "
        f"{comparison.difference:.1e}"
    )


@torch.no_grad()
def write_features(classifier: Classifier, path: Path) -> None:
    """Write "class_features" (C, embed_dim), of length 1, and "scale" (): logits are scale * image
    features of length 1 @ class_features.T. The metadata's "about" says of what, as JSON.

    Raises:
        InputError: class features depend on the picture.
    """
    features = classifier.encode_classes().contiguous()
    tensors = {"class_features": features, "scale": _scale(classifier)}
    about = {"about": json.dumps(describe(classifier), ensure_ascii=False)}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, about))


def _scale(classifier: Classifier) -> Tensor:
    """What the model multiplies a cosine with."""
    one = torch.zeros(1, classifier.model.clip.embed_dim, device=classifier.precision.device)
    one[0, 0] = 1
    return classifier.model.logits(one, one).float().cpu().reshape(())


def write_prompts(run: str | Path, path: Path) -> None:
    """Write the file to share of a run, without the folders of this machine.

    Raises:
        InputError: no such run.
    """
    source = runs.find(run)
    checkpoint = runs.read(source)
    header = checkpoint["header"]
    config = {**header["config"], "OUTPUT_DIR": "", "RESUME": ""}
    config["DATASET"] = {**config.get("DATASET", {}), **dict.fromkeys(FOLDERS, "")}
    checkpoint["header"] = {**header, "config": config}
    checkpoints.save_prompts(path, checkpoint)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command.

    Raises:
        InputError: something that was given does not fit.
    """
    given = parse_arguments(arguments)
    # in what others compute in, whatever it was trained in
    classifier = Classifier.load(given.run, "cpu", "fp32", given.backbone)
    names = read_classes(given.classes_file) if given.classes_file else given.classes
    if names:
        classifier = classifier.with_classes(names)
    if given.onnx:
        opset, comparison = write_onnx(classifier, given.onnx)
        print(f"{given.onnx}: opset {opset}, compared with PyTorch: {_said(comparison)}")
        print(f"{outputs.labels_of(given.onnx)}: class names and preprocessing")
    if given.features:
        write_features(classifier, given.features)
        more = " (not all that it knows of them)" if classifier.model.knows_trained_classes else ""
        print(f"{given.features}: features of {len(classifier.classes)} classes{more}")
    if given.prompts:
        write_prompts(given.run, given.prompts)
        print(f"{given.prompts}: the prompts; python predict.py {given.prompts} PICTURES...")


if __name__ == "__main__":
    from train import run_program

    sys.exit(run_program(main))
