"""Write a built-in CLIP as a plain file in OpenAI's layout: `python -m prompting.builtin clip.pt`."""

from __future__ import annotations

import argparse

import torch

from . import BUILTIN

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("output", help="the file, which `clip.load` can read")
parser.add_argument("--name", choices=list(BUILTIN), default=next(iter(BUILTIN)))
args = parser.parse_args()
torch.save(BUILTIN[args.name](), args.output)
