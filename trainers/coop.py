"""CoOp: learning to prompt for vision-language models (Zhou et al., IJCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate, clean_name
from prompting.learner import DeepPrompts, PromptLearner, random_vectors, word_vectors

from .prompt_trainer import PromptTrainer
from .registry import register


@register
class CoOp(PromptTrainer):
    """Learns the context vectors of "[V]_1 ... [V]_M class name." by cross entropy (equation 2).

    With words (CTX_INIT) there is one vector a word and N_CTX is ignored; without, N_CTX vectors start
    at random. CSC gives every class its own, without effect where there are words, as published.
    CLASS_TOKEN_POSITION puts the name behind, between or before the vectors.
    """

    node = "COOP"
    defaults = {
        "N_CTX": 16,
        "CSC": False,
        "CTX_INIT": "",
        "PREC": "fp16",
        "CLASS_TOKEN_POSITION": "end",
    }
    at_least = {"N_CTX": 1}
    saved_module = "prompt_learner."

    def build_template(self) -> PromptTemplate:
        options = self.options
        words = clean_name(options.CTX_INIT) or " ".join(["X"] * options.N_CTX)
        return PromptTemplate.of_context(
            words,
            len(words.split(" ")),
            options.get("CLASS_TOKEN_POSITION", "end"),
            options.get("CSC", False) and not options.CTX_INIT,
        )

    def starting_context(self, clip: CLIP) -> Tensor:
        """The context at the start, (M, text width)."""
        options, words = self.options, clean_name(self.options.CTX_INIT)
        if not words:
            return random_vectors(options.N_CTX, clip.text.width)
        given = len(words.split(" "))
        if given != options.N_CTX:
            print(
                f"CTX_INIT {words!r} has {given} words: {given} context vectors, N_CTX "
                f"{options.N_CTX} is ignored"
            )
        if options.get("CSC", False):
            print("CSC is ignored: CTX_INIT gives all classes the same context")
        return word_vectors(clip, words, given)

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        if not self.build_template().class_specific:
            return DeepPrompts(self.starting_context(clip))
        every = random_vectors(len(names) * self.options.N_CTX, clip.text.width)
        return DeepPrompts(every.view(len(names), self.options.N_CTX, -1))
