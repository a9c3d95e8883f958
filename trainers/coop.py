"""CoOp: learning to prompt for vision-language models (Zhou et al., IJCV 2022)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from prompting.backbone import CLIP
from prompting.class_prompts import PromptLayout, class_prompts, clean_name
from prompting.prompted_clip import PromptLearner, random_vectors, word_vectors

from .prompt_trainer import PromptTrainer
from .registry import register


def starting_context(clip: CLIP, words: str, count: int) -> tuple[Tensor, str]:
    """CoOp's context at the start, (M, text width), and the prefix that holds its place.

    With words (CTX_INIT) there is one vector a word and count (N_CTX) is ignored; without, the
    vectors are random.
    """
    if not words:
        return random_vectors(count, clip.text.width), " ".join(["X"] * count)
    words = clean_name(words)
    given = len(words.split(" "))
    if given != count:
        print(
            f"CTX_INIT {words!r} has {given} words: {given} context vectors, N_CTX {count} is ignored"
        )
    return word_vectors(clip, words, given), words


@register
class CoOp(PromptTrainer):
    """Learns the context vectors of "[V]_1 ... [V]_M class name." by cross entropy (equation 2).

    CTX_INIT sets them to words, CSC gives every class its own, and CLASS_TOKEN_POSITION puts the
    name behind, between or before them. As in the published code CSC has no effect with CTX_INIT.
    """

    node = "COOP"
    checkpoint_name = "prompt_learner"

    def build_prompts(self, clip: CLIP, names: list[str]) -> tuple[PromptLearner, PromptLayout]:
        options = self.options
        context, self.prefix = starting_context(clip, options.CTX_INIT, options.N_CTX)
        self.class_specific = options.CSC and not options.CTX_INIT
        if options.CSC and options.CTX_INIT:
            print("CSC is ignored: CTX_INIT gives all classes the same context")
        count = len(context)
        if self.class_specific:
            every = random_vectors(len(names) * count, clip.text.width)
            context = every.view(len(names), count, -1)
        prompts = class_prompts(
            names, self.prefix, count, options.CLASS_TOKEN_POSITION, self.class_specific
        )
        return PromptLearner(context), prompts

    def describe_prompts(self) -> dict[str, Any]:
        described = {
            "context_length": self.model.prompt_learner.ctx.shape[-2],
            "prefix": self.prefix,
            "class_token_position": self.options.CLASS_TOKEN_POSITION,
            "class_specific": self.class_specific,
        }
        if self.class_specific:
            # contexts of one class mean nothing to another
            described["classnames"] = list(self.dm.dataset.classnames)
        return described

    def learned_tensors(self):
        named = super().learned_tensors()
        return {name.removeprefix("prompt_learner."): value for name, value in named.items()}
