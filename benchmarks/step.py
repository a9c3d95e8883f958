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
    return {
        **figures,
        "text_flops": text,
        "image_flops": image,
        **_counts_of_plain(ours, args),
        "learned_parameters": sum(p.numel() for p in ours.model.prompt_learner.parameters()),
        "file_bytes": ours.end_epoch().stat().st_size,
    }


def _counts_of_plain(ours: subject.Ours, args: argparse.Namespace) -> dict[str, int]:
    """Operations of a step of the plain path, and bytes of its tensors and weights at their peak."""
    about = args.method, args.batch, args.classes, subject.VIT_B16, args.device
    with costs.without_values():
        plain = subject.build_plain(ours, args.device)
        batch = subject.images_and_labels(*about)
        flops = costs.counted(lambda: plain.backward(*batch))
        held = costs.held(lambda: plain.backward(*batch))
    frozen = (each for each in vars(plain).values() if isinstance(each, torch.nn.Module))
    weights = sum(p.nbytes for model in frozen for p in model.parameters())
    return {"plain_flops": flops, "plain_held": held + weights}


if __name__ == "__main__":
    main()
