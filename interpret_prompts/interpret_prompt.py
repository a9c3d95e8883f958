"""The words that learned context vectors are nearest to, by Euclidean distance.

    python interpret_prompts/interpret_prompt.py RUN TOPK

RUN is the folder of a finished training, or a checkpoint of ours or of the published code, TOPK how
many words to show for each vector. Most of these words mean nothing: what is learned lies far from
every word, as the distances show.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from inference import runs
from prompting import checkpoints
from prompting.backbone import load_clip
from prompting.errors import InputError
from prompting.words import context_of, nearest_words

DEFAULT_BACKBONE = "ViT-B/16"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("topk", type=int, metavar="TOPK")
    parser.add_argument("--backbone", default="", help="default: as the file says, or ViT-B/16")
    given = parser.parse_args(arguments)
    if given.topk < 1:
        parser.error(f"TOPK is {given.topk}: expected at least 1")
    try:
        path = runs.find(given.run) if given.run.is_dir() else given.run
        checkpoint = checkpoints.load(path)
        state = checkpoint["state_dict"]
        context = context_of(state)
        if context is None:
            names = ", ".join(sorted(state)[:5])
            raise InputError(f"{path} holds no context vectors (ctx), but {names}")
        header = checkpoint.get("header", {})
        name = given.backbone or header.get("backbone_name") or DEFAULT_BACKBONE
        embeddings = load_clip(str(name)).text.token_embedding.weight.detach()
        found = nearest_words(context, embeddings, given.topk)
    except (InputError, checkpoints.CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for number, words in enumerate(found, start=1):
        print(f"{number}: {', '.join(f'{word} {distance:.4f}' for word, distance in words)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
