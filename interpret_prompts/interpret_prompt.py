"""The words that learned context vectors are nearest to, by Euclidean distance.

    python interpret_prompts/interpret_prompt.py output/.../prompt_learner/model.pth.tar-50 3

FILE is a checkpoint of ours or of the published code, TOPK how many words to show for each vector. Most
of these words mean nothing: what is learned lies far from every word, as the distances show.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from prompting import checkpoints
from prompting.backbone import load_clip
from prompting.errors import InputError

from clip.simple_tokenizer import SimpleTokenizer  # isort: skip (prompting prepares clip's import)

DEFAULT_BACKBONE = "ViT-B/16"


def context_of(state: dict[str, Tensor], path: Path) -> Tensor:
    """The context vectors in a state dict, (M, text width), of all classes one after the other.

    Raises:
        InputError: it holds none.
    """
    for name, value in state.items():
        if name.rpartition(".")[2] == "ctx" and value.dim() in (2, 3):
            return value.float().flatten(0, -2)
    raise InputError(f"{path} holds no context vectors (ctx), but {', '.join(sorted(state)[:5])}")


def nearest_words(context: Tensor, embeddings: Tensor, count: int) -> list[list[tuple[str, float]]]:
    """For every vector of a context (M, width), the nearest words and their distances.

    Args:
        embeddings: (vocabulary, width), of CLIP's tokens.
        count: of words a vector.

    Raises:
        InputError: the widths differ.
    """
    if context.shape[1] != embeddings.shape[1]:
        raise InputError(
            f"the context vectors have {context.shape[1]} numbers and the words of the backbone "
            f"{embeddings.shape[1]}: give the backbone that they were trained with (--backbone)"
        )
    words = SimpleTokenizer().decoder
    exact = "donot_use_mm_for_euclid_dist"  # the fast way is off by 1e-4 near zero
    distances = torch.cdist(context, embeddings, compute_mode=exact)
    distances, tokens = distances.topk(count, largest=False)
    return [
        [(words[token].replace("</w>", ""), distance) for token, distance in zip(*row, strict=True)]
        for row in zip(tokens.tolist(), distances.tolist(), strict=True)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("topk", type=int, metavar="TOPK")
    parser.add_argument("--backbone", default="", help="default: as the file says, or ViT-B/16")
    given = parser.parse_args(arguments)
    if given.topk < 1:
        parser.error(f"TOPK is {given.topk}: expected at least 1")
    try:
        checkpoint = checkpoints.load(given.file)
        context = context_of(checkpoint["state_dict"], given.file)
        header = checkpoint.get("header", {})
        name = given.backbone or header.get("backbone_name") or DEFAULT_BACKBONE
        embeddings = load_clip(str(name)).text.token_embedding.weight.detach()
        found = nearest_words(context, embeddings, min(given.topk, len(embeddings)))
    except (InputError, checkpoints.CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for number, words in enumerate(found, start=1):
        print(f"{number}: {', '.join(f'{word} {distance:.4f}' for word, distance in words)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
