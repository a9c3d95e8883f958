"""A training step of one path in a process of its own: its time, its peak memory, and for ours what it
is made of; prints JSON."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from . import costs, subject
from .measure import CLOCKS, interleaved, peak_memory, reset_peak_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", choices=("ours", "plain"))
    parser.add_argument("method", choices=subject.methods())
    parser.add_argument("classes", type=int)
    parser.add_argument("batch", type=int)
    parser.add_argument("precision")
    parser.add_argument("device", type=torch.device)
    parser.add_argument("--clock", choices=CLOCKS, help="also take the time")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds")
    args = parser.parse_args()
    if args.clock == "cpu":
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, subject.own_cache():
        print(json.dumps(measured(args, Path(folder))))


def measured(args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """The figures of one path, by name: seconds, bytes, operations, learned numbers."""
    device, sizes = args.device, subject.VIT_B16
    ours = subject.build_ours(args.method, args.classes, args.precision, device, folder)
    batch = subject.images_and_labels(args.method, args.batch, args.classes, sizes, device)
    if args.path == "ours":
        # makes what is made once, such as the optimizer's state
        ours.step(*subject.images_and_labels(args.method, 2, args.classes, sizes, device))
        path = ours
    else:
        path = subject.build_plain(ours, device)
        del ours
    times = {"patience": args.patience, "clock": CLOCKS[args.clock or "wall"]}
    reset_peak_memory(device)
    if not args.clock:
        path.step(*batch)
        return {"peak_memory": peak_memory(device)}
    figures = interleaved({"seconds": lambda: path.step(*batch)}, device, **times)
    figures["peak_memory"] = peak_memory(device)
    if args.path == "plain":
        return figures
    figures |= interleaved({"image_seconds": ours.image_passes}, device, **times)
    text, image = costs.step(ours.passes)
    plain = subject.build_plain(ours, costs.META)
    images, labels = subject.images_and_labels(
        args.method, args.batch, args.classes, sizes, costs.META
    )
    return {
        **figures,
        "text_flops": text,
        "image_flops": image,
        "plain_flops": costs.counted(lambda: plain.backward(images, labels)),
        "learned_parameters": sum(p.numel() for p in ours.model.prompt_learner.parameters()),
        "file_bytes": ours.end_epoch().stat().st_size,
    }


if __name__ == "__main__":
    main()
