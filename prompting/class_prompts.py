"""From class names to token layouts: what all prompts share, what follows, where each one ends.

A prompt is a sequence of positions that hold either a word (a token of CLIP's vocabulary) or a
learned context vector. Causal attention lets the leading positions that all classes have in common
be encoded once; a layout states them and the rest of every class up to its EOT, with no padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import clip
import torch
from clip.simple_tokenizer import SimpleTokenizer
from torch import Tensor

from .errors import InputError
from .packing import PackedRows
from .tensors import in_short

POSITIONS = ("end", "middle", "front")
CONTEXT_LENGTH = 77
"""Tokens that the text encoders of OpenAI's CLIPs read."""


@dataclass(frozen=True)
class PromptLayout:
    """Prompts of C classes as rows of a table: the U distinct words, then the context vectors.

    words: (U,) token ids. prefix: (S,) table rows of the shared leading positions. suffix: (N,) table
    rows of all remaining positions, class after class. position: (N,) their positions in the prompt.
    last: (C,) index into suffix of each class's EOT.
    """

    words: Tensor
    prefix: Tensor
    suffix: Tensor
    position: Tensor
    last: Tensor

    def __len__(self) -> int:
        return len(self.last)

    def to(self, device: torch.device | str) -> PromptLayout:
        """The same layout with its tensors on a device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: v.to(device) for k, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    @cached_property
    def rows(self) -> PackedRows:
        """The suffixes packed into rows, made once a layout."""
        return PackedRows(self.suffix, self.position, self.last)

    @cached_property
    def class_aware(self) -> ClassAware:
        """The same prompts with nothing but SOS shared, made once a layout."""
        return ClassAware(self)


def tokenize(text: str, context_length: int = CONTEXT_LENGTH) -> list[int]:
    """Token ids of a text from SOS to EOT.

    Raises:
        InputError: the text needs more positions than the text encoder has.
    """
    return tokenize_all([text], context_length)[0]


def tokenize_all(
    texts: Sequence[str],
    context_length: int = CONTEXT_LENGTH,
    what: str = "prompt",
    advice: str = "shorten the class name or learn fewer context vectors",
) -> list[list[int]]:
    """Token ids of every text from SOS to EOT.

    Args:
        what, advice: for the message, what the texts are and what helps.

    Raises:
        InputError: texts need more positions than the text encoder has; it names them, and by how much.
    """
    tokens, too_long = [], []
    for text in texts:
        try:
            row = clip.tokenize(text, context_length)[0]
        except RuntimeError:
            too_long.append(text)
        else:
            tokens.append(row[: int(row.argmax()) + 1].tolist())
    if too_long:
        encode = SimpleTokenizer().encode
        excess = [len(encode(text)) + 2 - context_length for text in too_long]
        named = [f"{text!r} ({n} too many)" for text, n in zip(too_long, excess, strict=True)]
        subject = f"{len(too_long)} {what}s do" if len(too_long) > 1 else f"the {what} does"
        raise InputError(
            f"{subject} not fit into CLIP's {context_length} tokens: {in_short(named)}. {advice}"
        )
    return tokens


def clean_name(name: str) -> str:
    """A class name as it is read in a prompt: underscores are spaces."""
    return name.replace("_", " ")


@dataclass(frozen=True)
class PromptTemplate:
    """What every class is asked with, and which of its positions are learned context.

    The text with the class name in place of {} is tokenised as one, and the first num_context tokens
    after SOS give way to context vectors; further words stay words. Position "middle" puts the second
    half of the context after the name, "front" all of it (CoOp, section 3.1). With class_specific
    contexts, vector m of class c is row c * num_context + m of the flattened contexts.

    Raises:
        InputError: the text does not have exactly one {}, or the position is unknown.
    """

    text: str
    num_context: int = 0
    position: str = "end"
    class_specific: bool = False

    def __post_init__(self) -> None:
        if self.text.count("{}") != 1:
            raise InputError(
                f"the template {self.text!r} has {self.text.count('{}')} {{}}: expected one, where the "
                'class name stands, as in "a photo of a {}."'
            )
        if self.position not in POSITIONS:
            raise InputError(
                f"class token position {self.position!r}: choose one of {', '.join(POSITIONS)}"
            )

    @classmethod
    def of_context(cls, prefix: str, num_context: int, *more: Any) -> PromptTemplate:
        """`prefix`, the name, a full stop: the form of CoOp and what follows it; then the position and
        whether contexts are class-specific."""
        return cls(f"{prefix} {{}}.", num_context, *more)

    @property
    def prefix(self) -> str:
        """The words before the class name."""
        return self.text.partition("{}")[0].strip()

    def describe(self) -> dict[str, Any]:
        """What a checkpoint must agree on."""
        return {
            "prefix": self.prefix,
            "template": self.text,
            "class_token_position": self.position,
            "class_specific": self.class_specific,
        }

    def fill(self, name: str) -> str:
        """The text of a class, its name as it is read in a prompt."""
        before, _, behind = self.text.partition("{}")
        return f"{before}{clean_name(name)}{behind}"

    def layout(self, names: Sequence[str], context_length: int = CONTEXT_LENGTH) -> PromptLayout:
        """The token layout of these classes.

        Raises:
            InputError: a prompt does not fit into a text encoder of so many positions, or the template
                has fewer tokens before the name than context vectors are to take the place of.
        """
        before = len(tokenize(self.prefix, context_length)) - 2
        if before < self.num_context:
            raise InputError(
                f"the template {self.text!r} has {before} tokens before the class name, and "
                f"{self.num_context} context vectors would take the place of the name's: learn fewer, "
                "or give a template with more words in front"
            )
        tokens = tokenize_all([self.fill(name) for name in names], context_length)
        numbered = enumerate(zip(names, tokens, strict=True))
        return layout([self._sequence(index, *each, context_length) for index, each in numbered])

    def _sequence(
        self, index: int, name: str, tokens: Sequence[int], context_length: int
    ) -> list[int]:
        before = {"end": self.num_context, "middle": self.num_context // 2, "front": 0}
        before = before[self.position]
        first = index * self.num_context if self.class_specific else 0
        # ~k stands for context vector k: negative, so it cannot be taken for a token
        context = [~(first + k) for k in range(self.num_context)]
        body = tokens[1 + self.num_context :]
        name_end = 0
        if self.position != "end":
            # the name's own tokens; the last may merge with the full stop, and even with what follows
            # it, so the sequence is cut to its length as the published code does
            name_end = len(tokenize(clean_name(name), context_length)) - 2
            body = body + [0] * max(0, name_end - len(body))
        sequence = [tokens[0], *context[:before], *body[:name_end], *context[before:]]
        return (sequence + body[name_end:])[: len(tokens)]


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
    last = lengths.cumsum(0) - 1
    offset = torch.cat([torch.arange(int(length)) for length in lengths])
    return PromptLayout(
        words=torch.tensor(words),
        prefix=torch.tensor(rows[0][:shared], dtype=torch.long),
        suffix=torch.tensor([entry for seq in rows for entry in seq[shared:]]),
        position=shared + offset,
        last=last,
    )


class ClassAware:
    """The prompts of a layout from a layer on at which tokens of each class's own come in.

    From there every class has its own states at all positions but SOS, so that only SOS is shared.
    `rows` packs what each class then has of its own; `source` says where its states come from: rows of
    the table that holds the states of the prefix, of the packed suffixes, and then the class tokens.
    """

    def __init__(self, layout: PromptLayout) -> None:
        shared, device = len(layout.prefix), layout.last.device
        lengths = layout.last.diff(prepend=layout.last.new_tensor([-1]))
        own = lengths + shared - 1
        last = own.cumsum(0) - 1
        self.owner = torch.repeat_interleave(torch.arange(len(own), device=device), own)
        self.position = torch.arange(len(self.owner), device=device) - (last - own)[self.owner]
        # behind the prefix a class's states lie where its suffix was packed
        first = layout.last + 1 - lengths
        suffix = first[self.owner] + (self.position - shared).clamp(min=0)
        packed = shared + layout.rows.place[suffix]
        self.states = torch.where(self.position < shared, self.position, packed)
        self.rows = PackedRows(torch.arange(len(self.owner), device=device), self.position, last)
        self._table = shared + len(layout.rows.suffix)

    def source(self, num_tokens: int) -> Tensor:
        """Table rows of the packed tokens, with class tokens (C * num_tokens) at positions 1, 2, ..."""
        token = self._table + self.owner * num_tokens + self.position - 1
        chosen = torch.where(self.position <= num_tokens, token, self.states)
        return chosen[self.rows.suffix]
