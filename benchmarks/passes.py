"""The passes through the encoders that a training step makes, seen by watching one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor

from prompting.class_prompts import PromptLayout
from prompting.image_encoder import VisionTransformer
from prompting.steering import ImageSteering, TextSteering
from prompting.text_encoder import TextEncoder


@dataclass(eq=False)
class TextPass:
    """Prompts through a text encoder; backward: how often gradients came back."""

    encoder: TextEncoder
    layout: PromptLayout
    steering: TextSteering
    backward: int = 0


@dataclass(eq=False)
class ImagePass:
    """Images (B, 3, H, W) through a vision transformer; backward: how often gradients came back."""

    encoder: VisionTransformer
    images: Tensor
    steering: ImageSteering
    backward: int = 0


@contextmanager
def watch() -> Iterator[list[TextPass | ImagePass]]:
    """The passes that are made meanwhile, whichever model makes them."""
    seen: list[TextPass | ImagePass] = []
    embed, outputs, encode = VisionTransformer.embed, VisionTransformer.outputs, TextEncoder.forward

    def note(found: TextPass | ImagePass, output: Tensor) -> Tensor:
        def came_back(gradient: Tensor) -> None:
            found.backward += 1

        seen.append(found)
        if output.requires_grad:
            output.register_hook(came_back)
        return output

    def watched_embed(encoder: VisionTransformer, images: Tensor) -> Tensor:
        tokens = embed(encoder, images)
        tokens.embedded_from = images
        return tokens

    def watched_outputs(encoder: VisionTransformer, tokens: Tensor, steering=None) -> Tensor:
        found = ImagePass(encoder, tokens.embedded_from, steering or ImageSteering())
        return note(found, outputs(encoder, tokens, steering))

    def watched_encode(encoder: TextEncoder, layout: PromptLayout, steering=None) -> Tensor:
        found = TextPass(encoder, layout, steering or TextSteering())
        return note(found, encode(encoder, layout, steering))

    with (
        patch.object(VisionTransformer, "embed", watched_embed),
        patch.object(VisionTransformer, "outputs", watched_outputs),
        patch.object(TextEncoder, "forward", watched_encode),
    ):
        yield seen


def repeat_image_passes(passes: list[TextPass | ImagePass], steering: ImageSteering) -> None:
    """The image passes of a step again, and nothing else; each image embedded once an encoder.

    Args:
        passes: what was seen of the step.
        steering: what acts where anything did, of a graph that is not used up yet.
    """
    embedded: dict[tuple[int, int], Tensor] = {}
    for each in passes:
        if not isinstance(each, ImagePass):
            continue
        key = id(each.encoder), id(each.images)
        if key not in embedded:
            embedded[key] = each.encoder.embed(each.images)
        with torch.set_grad_enabled(each.backward > 0):
            output = each.encoder.outputs(embedded[key], steering if each.steering.acts else None)
        if each.backward:
            output.sum().backward()
