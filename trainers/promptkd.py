"""PromptKD: unsupervised prompt distillation (Li et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate
from prompting.errors import InputError
from prompting.learner import PromptLearner, image_prompt_names, random_vectors
from prompting.prompted_clip import PromptedCLIP
from prompting.prompted_teacher import PromptedTeacher
from prompting.steering import ImageSteering

from .ivlp import IVLP
from .promptsrc import PromptSRC
from .registry import register
from .unlabeled import UnlabeledTrainer

UNREAD = {"MODAL": "base2novel", "CE_WEIGHT": 0.0, "PROJECT_LAYER": 2}


class Student(PromptLearner):
    """Deep prompts of the image encoder, and a projector into the teacher's space: two linear maps with
    batch normalisation between them, 1 x 1 convolutions as published files have them."""

    def __init__(self, image_prompts: Sequence[Tensor], dim: int, teacher: PromptedTeacher) -> None:
        super().__init__()
        out, self.teacher = teacher.model.clip.embed_dim, teacher.fingerprint
        self.image_prompts = nn.ParameterList(map(nn.Parameter, image_prompts))
        maps = nn.Conv2d(dim, out, 1), nn.BatchNorm2d(out), nn.ReLU(), nn.Conv2d(out, out, 1)
        self.conv1 = nn.Sequential(*maps)

    def steer_image(self) -> ImageSteering:
        return ImageSteering(prompts=dict(enumerate(self.image_prompts)))

    def published_names(self) -> dict[str, str]:
        names = {name: f"VPT_image_trans.{name}" for name in self.state_dict()}
        return names | image_prompt_names(len(self.image_prompts))

    def describe(self) -> dict[str, object]:
        return {"teacher": self.teacher, "prompt_depth_vision": len(self.image_prompts)}


class StudentCLIP(PromptedCLIP):
    """An image encoder with prompts against the teacher's text features."""

    def encode_classes(self) -> Tensor:
        return self.teacher_text()

    def finish_images(self, features: Tensor) -> Tensor:
        return self.prompt_learner.conv1(features.float()[..., None, None]).flatten(1)


@register
class PromptKD(UnlabeledTrainer):
    """Learns without labels to classify as a larger teacher does (section 3.2).

    Loss = KD_WEIGHT * TEMPERATURE^2 * KL(teacher || student, both over TEMPERATURE) / (B * C), on the
    training images of all classes and over all of them, whichever half is tested. TEACHER is a run or a
    file of PromptSRC or IVLP, or "zero-shot"; TEACHER_NAME its backbone, "" for the one the file names.
    With TEST.FINAL_MODEL best_val the epoch is kept that is best on the *test* images, as published,
    or with SELECT_ON_TEST False on validation images.
    """

    node = "PROMPTKD"
    defaults = {
        "N_CTX_VISION": 4,
        "PROMPT_DEPTH_VISION": 9,
        "KD_WEIGHT": 1.0,
        "TEMPERATURE": 1.0,
        "TEACHER": "",
        "TEACHER_NAME": "",
        "SELECT_ON_TEST": True,
        "PREC": "fp16",
    }
    # the classes say what MODAL says, and the student has no text encoder
    accepted_keys = {
        f"TRAINER.PROMPTKD.{key}": value for key, value in {**IVLP.defaults, **UNREAD}.items()
    }
    published_keys = {"TRAINER.MODAL": "TRAINER.PROMPTKD.MODAL"}
    at_least = {"PROMPT_DEPTH_VISION": 0, "N_CTX_VISION": 1, "KD_WEIGHT": 0}
    more_than = {"TEMPERATURE": 0}
    teacher_method = PromptSRC
    checkpoint_name = PromptSRC.checkpoint_name
    model_class = StudentCLIP

    def build_template(self) -> PromptTemplate:
        return self.teacher.model.template

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        self.refuse_resnet(clip, "")
        depth, width = self.depth("PROMPT_DEPTH_VISION", clip.image.layers), clip.image.width
        prompts = [random_vectors(self.options.N_CTX_VISION, width) for _ in range(depth)]
        return Student(prompts, clip.embed_dim, self.teacher)

    def before_train(self) -> None:
        if self.cfg.DATALOADER.TRAIN_X.BATCH_SIZE < 2:
            raise InputError(
                "a batch of 1 image cannot be normalised: set DATALOADER.TRAIN_X.BATCH_SIZE to 2 or up"
            )
        super().before_train()

    def compute_loss(
        self, images: tuple[Tensor, Tensor], labels: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        images, seen_by_teacher = images
        model, options, names = self.model, self.options, self.model.trained_classes
        logits = model.logits(model.encode_images(images), self.teacher(names))
        taught = self.teacher.logits(seen_by_teacher, names)
        student, teacher = (F.log_softmax(x / options.TEMPERATURE, 1) for x in (logits, taught))
        kl_sum = F.kl_div(student, teacher, reduction="sum", log_target=True)
        weight = options.KD_WEIGHT * options.TEMPERATURE**2
        return weight * kl_sum / logits.numel(), {"kl_sum": kl_sum}
