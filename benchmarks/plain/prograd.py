"""ProGrad: CoOp whose gradient is projected where it works against the frozen CLIP."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .coop import CoOp
from .encoders import normalise
from .path import WithFrozenClip


class ProGrad(WithFrozenClip, CoOp):
    """The frozen CLIP encodes the same images once more."""

    def backward(self, images: Tensor, labels: Tensor) -> Tensor:
        context, temperature = self.learned["prompt_learner.ctx"], self.options["TEMPERATURE"]
        logits = self.logits(normalise(self.encode_images(images)), self.encode_classes())
        teacher = self.logits(self.frozen_images(images), self.teacher_text)
        cross_entropy = F.cross_entropy(logits, labels)
        known = (teacher / temperature).softmax(1)
        kl = temperature**2 * F.cross_entropy(logits / temperature, known)
        (b,) = torch.autograd.grad(kl, context, retain_graph=True)
        (a,) = torch.autograd.grad(cross_entropy, context)
        along = ((a * b).sum() / b.square().sum()).clamp(max=0)
        context.grad = a - self.options["LAMBDA"] * along * b
        return cross_entropy
