"""Which precision is fastest here, on an image encoder of ViT-B/16 size, as own_pictures measures it.

python -m benchmarks.precision [--device cuda]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from prompting.backbone import CLIP
from prompting.measured_precision import BATCH, fastest, measure

from . import subject
from .measure import machine


def report(sizes: dict[str, object], device: torch.device) -> str:
    """A line on the machine, and the seconds of every precision with the choice."""
    clip = CLIP(subject.random_clip(sizes).state_dict())
    seconds = measure(clip.image, clip.resolution, device)
    about = machine(device)
    known = {"cpu": f"{about['cpu']}, {about['instructions']}, AMX: {about['amx_bf16']}"}
    said = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
    return (
        f"{known.get(device.type, about['gpu'])}, {about['threads']} threads, torch {about['torch']}\n"
        f"{BATCH} images, forward and backward: {said}\n"
        f"PREC {fastest(seconds)}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precision",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this PyTorch sees no CUDA device; use --device cpu")
    print(report(subject.VIT_B16, torch.device(given.device)))


if __name__ == "__main__":
    main()
