"""ProGrad: prompt-aligned gradient for prompt tuning (Zhu et al., ICCV 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate, clean_name
from prompting.errors import InputError
from prompting.learner import word_vectors

from . import templates
from .coop import CoOp
from .registry import register

OF_TEMPLATE = "template"
# where the published code asks otherwise than zero-shot CLIP
OWN_TEMPLATES = {
    "OxfordPets": "a type of pet, a photo of a {}.",
    "OxfordFlowers": "a type of flower, a photo of a {}.",
    "FGVCAircraft": "a type of aircraft, a photo of a {}.",
    "DescribableTextures": "a texture of {}.",
    "Food101": "a type of food, a photo of {}.",
}


@register
class ProGrad(CoOp):
    """CoOp whose gradient loses what works against the frozen CLIP's general knowledge (equation 5).

    With a the gradient of the cross entropy and b that of KL = T^2 * mean of -sum_c q_c log p_c to the
    teacher's predictions q: where a.b < 0 the step follows a - LAMBDA * (a.b / |b|^2) * b, else a. KL
    is never added to the loss. CTX_INIT: words that the last of the N_CTX vectors start from, those
    before them at zero; "template" takes the words of TEMPLATE before the name; "" starts at random.
    TEMPLATE is the teacher's; "" is the dataset's own.
    """

    node = "PROGRAD"
    defaults = {
        **CoOp.defaults,
        "CTX_INIT": OF_TEMPLATE,
        "LAMBDA": 1.0,
        "TEMPERATURE": 1.0,
        "TEMPLATE": "",
    }
    at_least = {"LAMBDA": 0}
    more_than = {"TEMPERATURE": 0}

    def teacher_templates(self) -> Sequence[str]:
        return [self.options.TEMPLATE or templates.of_dataset(self.cfg.DATASET.NAME, OWN_TEMPLATES)]

    @property
    def words(self) -> str:
        """The words that the context starts from; "" where it starts at random."""
        words = clean_name(self.options.CTX_INIT)
        if words == OF_TEMPLATE:
            words = self.teacher_templates()[0].partition("{}")[0].strip()
        count = len(words.split())
        if count > self.options.N_CTX:
            raise InputError(
                f"CTX_INIT {words!r} has {count} words, and N_CTX is {self.options.N_CTX}: expected at "
                f"least {count} context vectors, or fewer words"
            )
        return words

    def build_template(self) -> PromptTemplate:
        options, words = self.options, self.words.split()
        prefix = ["X"] * (options.N_CTX - len(words)) + words
        specific = options.CSC and not words
        position = options.CLASS_TOKEN_POSITION
        return PromptTemplate.of_context(" ".join(prefix), options.N_CTX, position, specific)

    def starting_context(self, clip: CLIP) -> Tensor:
        count = len(self.words.split())
        if not count:
            return super().starting_context(clip)
        zeros = torch.zeros(self.options.N_CTX - count, clip.text.width)
        return torch.cat([zeros, word_vectors(clip, self.words, count)])

    def compute_loss(self, images: Tensor, labels: Tensor):
        model, temperature = self.model, self.options.TEMPERATURE
        # nothing learned reaches the images: the teacher sees the same features
        image_features = model.encode_images(images)
        logits = model.logits(image_features, model.class_features())
        teacher = model.logits(image_features, model.teacher_text())
        cross_entropy = F.cross_entropy(logits, labels)
        known = (teacher / temperature).softmax(1)
        kl = F.cross_entropy(logits / temperature, known) * temperature**2
        return (cross_entropy, kl), {"ce": cross_entropy, "kl": kl}

    def backward(self, losses: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        learned = list(self.model.prompt_learner.parameters())
        cross_entropy, kl = (self.scaler.scale(loss) for loss in losses)
        general = torch.autograd.grad(kl, learned, retain_graph=True)
        for parameter, a, b in zip(
            learned, torch.autograd.grad(cross_entropy, learned), general, strict=True
        ):
            # without a branch, which would wait for the device
            along = (a * b).sum() / b.square().sum().clamp(min=torch.finfo(b.dtype).tiny)
            parameter.grad = a - self.options.LAMBDA * along.clamp(max=0) * b
        return {"cosine_of_gradients": F.cosine_similarity(a.flatten(), b.flatten(), dim=0)}
