"""From class names to token layouts: what all prompts share, what follows, where each one ends.

A prompt is a sequence of positions that hold either a word (a token of CLIP's vocabulary) or a
learned context vector. Causal attention lets the leading positions that all classes have in common
be encoded once; a layout states them and the rest of every class up to its EOT, with no padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import clip
import torch
from torch import Tensor

POSITIONS = ("end", "middle", "front")


@dataclass(frozen=True)
class PromptLayout:
    """Prompts of C classes as rows of a table: the U distinct words, then the context vectors.

    words: (U,) token ids. prefix: (S,) table rows of the shared leading positions. suffix: (N,) table
    rows of all remaining positions, class after class. position: (N,) their positions in the prompt.
    slot: (N,) their places in a (C, longest) grid. last: (C,) index into suffix of each class's EOT.
    """

    words: Tensor
    prefix: Tensor
    suffix: Tensor
    position: Tensor
    slot: Tensor
    last: Tensor
    longest: int

    def __len__(self) -> int:
        return len(self.last)

    def to(self, device: torch.device | str) -> PromptLayout:
        """The same layout with its tensors on a device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: v.to(device) for k, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def tokenize(text: str) -> list[int]:
    """Token ids of a text from SOS to EOT.

    Raises:
        ValueError: the text needs more than the 77 positions of CLIP's text encoder.
    """
    try:
        row = clip.tokenize(text)[0]
    except RuntimeError as error:
        raise ValueError(
            f"the prompt {text!r} does not fit into CLIP's 77 tokens: "
            "shorten the class name or learn fewer context vectors"
        ) from error
    return row[: int(row.argmax()) + 1].tolist()


def clean_name(name: str) -> str:
    """A class name as it is read in a prompt: underscores are spaces."""
    return name.replace("_", " ")


def class_prompts(
    names: Sequence[str],
    prefix: str,
    num_context: int,
    position: str = "end",
    class_specific: bool = False,
) -> PromptLayout:
    """The layout of `[SOS] context "{name}." [EOT]` for every class.

    The text `prefix + name + "."` is tokenised as one and the first num_context tokens after SOS give
    way to context vectors; further words of the prefix stay words. Position "middle" puts the second
    half of the context after the name, "front" all of it (CoOp, section 3.1). With class_specific
    contexts, vector m of class c is row c * num_context + m of the flattened contexts.

    Raises:
        ValueError: a prompt does not fit into 77 tokens, or the position is unknown.
    """
    if position not in POSITIONS:
        raise ValueError(f"class token position {position!r}: choose one of {', '.join(POSITIONS)}")
    before = {"end": num_context, "middle": num_context // 2, "front": 0}[position]
    sequences = []
    for index, name in enumerate(map(clean_name, names)):
        tokens = tokenize(f"{prefix} {name}.")
        first = index * num_context if class_specific else 0
        # ~k stands for context vector k: negative, so it cannot be taken for a token
        context = [~(first + k) for k in range(num_context)]
        body = tokens[1 + num_context :]
        if position == "end":
            name_end = 0
        else:
            # the name's own tokens; the last may merge with the full stop, and even with what follows
            # it, so the sequence is cut to its length as the published code does
            name_end = len(tokenize(name)) - 2
            body = body + [0] * max(0, name_end - len(body))
        sequence = [tokens[0], *context[:before], *body[:name_end], *context[before:]]
        sequences.append((sequence + body[name_end:])[: len(tokens)])
    return layout(sequences)


def plain_prompts(texts: Sequence[str]) -> PromptLayout:
    """The layout of texts without learned context."""
    return layout([tokenize(text) for text in texts])


def layout(sequences: Sequence[Sequence[int]]) -> PromptLayout:
    """Pack sequences of token ids and context vectors (written ~k) into a layout.

    The shared prefix is the longest common leading run; every class keeps at least its last position.
    """
    shortest = min(map(len, sequences))
    shared = 0
    while shared < shortest - 1 and len({sequence[shared] for sequence in sequences}) == 1:
        shared += 1
    words = sorted({entry for sequence in sequences for entry in sequence if entry >= 0})
    row = {word: index for index, word in enumerate(words)}
    rows = [[row.get(entry, len(words) + ~entry) for entry in seq] for seq in sequences]
    lengths = torch.tensor([len(seq) - shared for seq in sequences])
    longest = int(lengths.max())
    last = lengths.cumsum(0) - 1
    offset = torch.cat([torch.arange(int(length)) for length in lengths])
    owner = torch.repeat_interleave(torch.arange(len(sequences)), lengths)
    return PromptLayout(
        words=torch.tensor(words),
        prefix=torch.tensor(rows[0][:shared], dtype=torch.long),
        suffix=torch.tensor([entry for seq in rows for entry in seq[shared:]]),
        position=shared + offset,
        slot=owner * longest + offset,
        last=last,
        longest=longest,
    )
