"""TCP: textual-based class-aware prompt tuning (Yao et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate
from prompting.learner import DeepPrompts, PromptLearner
from prompting.prompted_clip import PromptedCLIP
from prompting.steering import TextSteering
from prompting.transformer import QuickGELU

from . import templates
from .kgcoop import OWN_TEMPLATES as KNOWLEDGE_TEMPLATES
from .kgcoop import KgCoOp
from .registry import register

CLASS_TOKENS = 4
TEACHER_TEMPLATES = KNOWLEDGE_TEMPLATES | {
    "FGVCAircraft": "a photo of an aircraft {}.",
    "Food101": "a photo of a {}, a type of food.",
}
# the learner's: the context takes the place of the first words, those behind the name stay
PROMPT_TEMPLATES = {
    "OxfordPets": "X X X X {}, a type of pet.",
    "OxfordFlowers": "X X X X {}, a type of flower.",
    "FGVCAircraft": "X X X X {}, a type of aircraft.",
    "DescribableTextures": "X X X X {} texture.",
    "StanfordCars": "X X X X {}, a type of car",
    "Food101": "X X X X {}, a type of food.",
    "UCF101": "a photo of a person doing {}.",
    "BuiltinFlowers": "X X X X {}, a type of flower.",
    "BuiltinFabrics": "X X X X {}, a type of fabric.",
}


class ClassAwarePrompts(DeepPrompts):
    """A shared context, and tokens of each class's own made from the teacher's feature of its name.

    h_c = linear2(QuickGELU(linear1(w_c))), four tokens of the text width that take the place of
    positions 1 to 4 at the input of one layer.
    """

    def __init__(self, ctx: Tensor, embed_dim: int, layer: int) -> None:
        super().__init__(ctx)
        self.layer, width = layer, ctx.shape[-1]
        self.meta_net = nn.Sequential()
        self.meta_net.add_module("linear1", nn.Linear(embed_dim, embed_dim // 4))
        self.meta_net.add_module("activation", QuickGELU())
        self.meta_net.add_module("linear2", nn.Linear(embed_dim // 4, CLASS_TOKENS * width))

    def steer_classes(self, knowledge: Tensor) -> TextSteering:
        """Normalised teacher features (C, embed_dim) -> what acts inside the text encoder."""
        tokens = self.meta_net(knowledge).unflatten(-1, (CLASS_TOKENS, -1))
        return TextSteering(context=self.ctx, class_tokens={self.layer: tokens})

    def published_names(self) -> dict[str, str]:
        return PromptLearner.published_names(self)

    def describe(self) -> dict[str, object]:
        return {**super().describe(), "layer": self.layer}


class ClassAwareCLIP(PromptedCLIP):
    """CLIP whose text encoder gets tokens of each class's own."""

    def encode_text(self) -> Tensor:
        return self.clip.text(self.layout, self.prompt_learner.steer_classes(self.teacher_text()))


@register
class TCP(KgCoOp):
    """KgCoOp's loss, and class-aware tokens inside the text encoder (section 3.2).

    LAYER is where they come in, counted from 0. TEMPLATE is the teacher's and PROMPT_TEMPLATE the
    learner's, whose first N_CTX words give way to the context; "" takes the dataset's own. The
    optimizer is Adam with eps 1e-3 (OPTIM.ADAM_EPS), part of the method in every precision.
    """

    node = "TCP"
    defaults = {
        "N_CTX": 4,
        "CTX_INIT": "",
        "WEIGHT": 8.0,
        "LAYER": 8,
        "TEMPLATE": "",
        "PROMPT_TEMPLATE": "",
        "PREC": "fp16",
    }
    published_unused = ()
    model_class = ClassAwareCLIP

    def teacher_templates(self) -> Sequence[str]:
        name = self.cfg.DATASET.NAME
        return [self.options.TEMPLATE or templates.of_dataset(name, TEACHER_TEMPLATES)]

    def build_template(self) -> PromptTemplate:
        own = PROMPT_TEMPLATES.get(self.cfg.DATASET.NAME, "X X X X {}.")
        if self.cfg.DATASET.NAME.startswith("ImageNet"):
            own = templates.DEFAULT
        return PromptTemplate(self.options.PROMPT_TEMPLATE or own, self.options.N_CTX)

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        layer, last = self.options.LAYER, clip.text.layers - 1
        self.expect("LAYER", 0 <= layer <= last, f"0 to {last}, layers of the text encoder")
        words = self.options.CTX_INIT.split()
        self.expect(
            "CTX_INIT",
            len(words) in (0, self.options.N_CTX),
            f"as many words as N_CTX says, {self.options.N_CTX}, or none",
        )
        return ClassAwarePrompts(self.starting_context(clip), clip.embed_dim, layer)
