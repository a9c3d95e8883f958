"""The peak memory of a training step of one path, in a process of its own; prints JSON."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from . import subject
from .measure import peak_memory, reset_peak_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", choices=("ours", "plain"))
    parser.add_argument("method", choices=subject.BATCH)
    parser.add_argument("classes", type=int)
    parser.add_argument("batch", type=int)
    parser.add_argument("precision")
    parser.add_argument("device", type=torch.device)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.path == "plain":
            built = subject.build_plain(args.method, args.classes, args.device)
        else:
            built = subject.build_ours(
                args.method, args.classes, args.precision, args.device, Path(folder)
            )
        batch = subject.images_and_labels(args.batch, args.classes, subject.VIT_B16, args.device)
        built.step(*batch)  # also makes what is made once, such as the optimizer's state
        reset_peak_memory(args.device)
        built.step(*batch)
    print(json.dumps({"bytes": peak_memory(args.device)}))


if __name__ == "__main__":
    main()
