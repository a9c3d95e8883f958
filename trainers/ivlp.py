"""IVLP: independent vision-language prompting (the baseline of Khattak et al., CVPR 2023)."""

from __future__ import annotations

from typing import Any

from prompting.backbone import CLIP
from prompting.class_prompts import PromptLayout, class_prompts, clean_name
from prompting.prompted_clip import PromptLearner, random_vectors, word_vectors

from .config import options as method_options
from .prompt_trainer import PromptTrainer
from .registry import register

# the published code starts from words only for contexts up to this length
LONGEST_WORD_CONTEXT = 4


@register
class IVLP(PromptTrainer):
    """Learns deep prompts in both encoders, not coupled, by cross entropy.

    Text: N_CTX_TEXT vectors at positions 1 to M, and as many for each further layer up to
    PROMPT_DEPTH_TEXT. Vision: N_CTX_VISION vectors after the patch tokens, likewise up to
    PROMPT_DEPTH_VISION; depth 0 leaves the image encoder alone.
    """

    node = "IVLP"
    checkpoint_name = "VLPromptLearner"

    def check_cfg(self, cfg) -> None:
        super().check_cfg(cfg)
        options = method_options(cfg, self.node)
        lowest = {
            "PROMPT_DEPTH_TEXT": 1,
            "PROMPT_DEPTH_VISION": 0,
            "N_CTX_TEXT": 1,
            "N_CTX_VISION": 1,
        }
        for key, bound in lowest.items():
            if options[key] < bound:
                raise ValueError(
                    f"TRAINER.{self.node}.{key} is {options[key]}: expected at least {bound}"
                )

    def build_prompts(self, clip: CLIP, names: list[str]) -> tuple[PromptLearner, PromptLayout]:
        options = self.options
        if options.PROMPT_DEPTH_VISION and not clip.is_vit:
            raise ValueError(
                f"{self.cfg.MODEL.BACKBONE.NAME} is a ResNet, and deep vision prompts need the tokens "
                "of a vision transformer: choose a ViT, or set "
                f"TRAINER.{self.node}.PROMPT_DEPTH_VISION 0"
            )
        count = options.N_CTX_TEXT
        if options.CTX_INIT and count <= LONGEST_WORD_CONTEXT:
            self.prefix = clean_name(options.CTX_INIT)
            context = word_vectors(clip, self.prefix, count)
        else:
            if options.CTX_INIT:
                print(
                    f"CTX_INIT {options.CTX_INIT!r} is ignored: N_CTX_TEXT is {count}, and contexts of "
                    f"more than {LONGEST_WORD_CONTEXT} vectors start at random"
                )
            self.prefix = " ".join(["X"] * count)
            context = random_vectors(count, clip.text.width)
        text_depth = self._depth("PROMPT_DEPTH_TEXT", clip.text.layers)
        image_prompts = []
        if options.PROMPT_DEPTH_VISION:
            depth = self._depth("PROMPT_DEPTH_VISION", clip.image.layers)
            width = clip.image.width
            image_prompts = [random_vectors(options.N_CTX_VISION, width) for _ in range(depth)]
        text_prompts = [random_vectors(count, clip.text.width) for _ in range(text_depth - 1)]
        learner = PromptLearner(context, text_prompts, image_prompts)
        return learner, class_prompts(names, self.prefix, count)

    def _depth(self, key: str, layers: int) -> int:
        depth = self.options[key]
        if depth > layers:
            print(
                f"{key} is {depth}, and the encoder has {layers} layers: all of them are prompted"
            )
        return min(depth, layers)

    def describe_prompts(self) -> dict[str, Any]:
        learner = self.model.prompt_learner
        return {
            "prefix": self.prefix,
            "context_length_text": len(learner.ctx),
            "prompt_depth_text": 1 + len(learner.text_prompts),
            "context_length_vision": len(learner.image_prompts[0]) if learner.image_prompts else 0,
            "prompt_depth_vision": len(learner.image_prompts),
        }
