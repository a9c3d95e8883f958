"""IVLP: independent vision-language prompting (the baseline of Khattak et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate, clean_name
from prompting.errors import InputError
from prompting.learner import DeepPrompts, PromptLearner, random_vectors, word_vectors

from .prompt_trainer import PromptTrainer
from .registry import register

# the published code starts from words only for contexts up to this length
LONGEST_WORD_CONTEXT = 4


class DeepPromptTrainer(PromptTrainer):
    """What methods with deep prompts in both encoders have in common.

    The context keeps its length whatever the words of CTX_INIT: words behind it stay words.
    """

    context_key = "N_CTX"

    @property
    def words(self) -> str:
        """The words that the context starts from; "" where it starts at random."""
        count = self.options[self.context_key]
        return clean_name(self.options.CTX_INIT) if count <= LONGEST_WORD_CONTEXT else ""

    def build_template(self) -> PromptTemplate:
        count = self.options[self.context_key]
        return PromptTemplate.of_context(self.words or " ".join(["X"] * count), count)

    def starting_context(self, clip: CLIP) -> Tensor:
        """The context at the start, (M, text width)."""
        count, words = self.options[self.context_key], self.options.CTX_INIT
        if words and not self.words:
            print(
                f"CTX_INIT {words!r} is ignored: {self.context_key} is {count}, and contexts of more "
                f"than {LONGEST_WORD_CONTEXT} vectors start at random"
            )
        if not self.words:
            return random_vectors(count, clip.text.width)
        return word_vectors(clip, self.words, count)

    def depth(self, key: str, layers: int) -> int:
        """A depth of the configuration, at most that of the encoder."""
        depth = self.options[key]
        if depth > layers:
            print(
                f"{key} is {depth}, and the encoder has {layers} layers: all of them are prompted"
            )
        return min(depth, layers)

    def refuse_resnet(self, clip: CLIP, advice: str) -> None:
        """Raise InputError where there are no image tokens to prompt."""
        if not clip.is_vit:
            raise InputError(
                f"{self.cfg.MODEL.BACKBONE.NAME} is a ResNet, and deep vision prompts need the tokens "
                f"of a vision transformer: choose a ViT{advice}"
            )


@register
class IVLP(DeepPromptTrainer):
    """Learns deep prompts in both encoders, not coupled, by cross entropy.

    Text: N_CTX_TEXT vectors at positions 1 to M, and as many for each further layer up to
    PROMPT_DEPTH_TEXT. Vision: N_CTX_VISION vectors after the patch tokens, likewise up to
    PROMPT_DEPTH_VISION; depth 0 leaves the image encoder alone.
    """

    node = "IVLP"
    defaults = {
        "N_CTX_VISION": 2,
        "N_CTX_TEXT": 2,
        "CTX_INIT": "a photo of a",
        "PREC": "fp16",
        "PROMPT_DEPTH_VISION": 9,
        "PROMPT_DEPTH_TEXT": 9,
    }
    checkpoint_name = "VLPromptLearner"
    published_unused = (r"prompt_learner\.ZS_image_encoder\..*",)
    context_key = "N_CTX_TEXT"
    at_least = {
        "PROMPT_DEPTH_TEXT": 1,
        "PROMPT_DEPTH_VISION": 0,
        "N_CTX_TEXT": 1,
        "N_CTX_VISION": 1,
    }

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        options = self.options
        if options.PROMPT_DEPTH_VISION:
            advice = f", or set TRAINER.{self.node}.PROMPT_DEPTH_VISION 0"
            self.refuse_resnet(clip, advice)
        context = self.starting_context(clip)
        text_depth = self.depth("PROMPT_DEPTH_TEXT", clip.text.layers)
        image_prompts = []
        if options.PROMPT_DEPTH_VISION:
            depth = self.depth("PROMPT_DEPTH_VISION", clip.image.layers)
            width = clip.image.width
            image_prompts = [random_vectors(options.N_CTX_VISION, width) for _ in range(depth)]
        text_prompts = [
            random_vectors(len(context), clip.text.width) for _ in range(text_depth - 1)
        ]
        return DeepPrompts(context, text_prompts, image_prompts)
