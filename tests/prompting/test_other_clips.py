"""open_clip's and transformers' models against the libraries' own forward passes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import clip as openai_clip
import pytest
import torch
from torch import Tensor, nn

from prompting.backbone import CLIP, load_clip
from prompting.class_prompts import PromptTemplate
from prompting.steering import ImageSteering, TextSteering
from tests import other_clips
from tests.other_clips import OPEN_CLIP, TRANSFORMERS

NAMES = ["cat", "golden retriever", "a very long name of a class", "x"]
TEMPLATE = PromptTemplate("a photo of a {}.", 4)


def images(resolution: int) -> Tensor:
    return torch.randn(3, 3, resolution, resolution, generator=torch.Generator().manual_seed(0))


def tokens(context_length: int) -> Tensor:
    return openai_clip.tokenize([f"a photo of a {name}." for name in NAMES], context_length)


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


class OfOpenCLIP:
    """The library's own modules, open to prompts."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.text = model, getattr(model, "text", model)

    def image_features(self, pixels: Tensor) -> Tensor:
        return self.model.encode_image(pixels)

    def text_features(self, words: Tensor) -> Tensor:
        return self.model.encode_text(words)

    def prompted_image(self, pixels: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        visual = self.model.visual
        x = with_prompts(visual._embeds(pixels), visual.ln_pre(prompts[0]), replaced=0)
        x = through(visual.transformer.resblocks, x, prompts, last=True)
        return visual.ln_post(x[:, 0]) @ visual.proj

    def prompted_text(self, words: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        text = self.text
        x = in_front(text.token_embedding(words), prompts[0]) + text.positional_embedding
        x = through(text.transformer.resblocks, x, prompts, attn_mask=text.attn_mask)
        ends = x[torch.arange(len(x)), words.argmax(1)]
        return text.ln_final(ends) @ text.text_projection


class OfTransformers:
    """The same of transformers."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def image_features(self, pixels: Tensor) -> Tensor:
        found = self.model.get_image_features(pixels)
        return getattr(found, "pooler_output", found)

    def text_features(self, words: Tensor) -> Tensor:
        found = self.model.get_text_features(words)
        return getattr(found, "pooler_output", found)

    def prompted_image(self, pixels: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        vision = self.model.vision_model
        x = vision.pre_layrnorm(vision.embeddings(pixels))
        x = with_prompts(x, vision.pre_layrnorm(prompts[0]), replaced=0)
        x = through(vision.encoder.layers, x, prompts, last=True, attention_mask=None)
        return self.model.visual_projection(vision.post_layernorm(x[:, 0]))

    def prompted_text(self, words: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        text = self.model.text_model
        embedded = in_front(text.embeddings.token_embedding(words), prompts[0])
        x = text.embeddings(inputs_embeds=embedded)
        length = words.shape[1]
        mask = torch.full((length, length), -torch.inf).triu(1)[None, None]
        x = through(text.encoder.layers, x, prompts, attention_mask=mask)
        ends = x[torch.arange(len(x)), words.argmax(1)]
        return self.model.text_projection(text.final_layer_norm(ends))


def through(
    blocks: Iterable[nn.Module], x: Tensor, prompts: Sequence[Tensor], last: bool = False, **mask
) -> Tensor:
    """The output of the last block, behind deep prompts that take the place of the earlier ones."""
    for layer, block in enumerate(blocks):
        if 0 < layer < len(prompts):
            own = prompts[layer]
            x = with_prompts(x, own, replaced=len(own)) if last else in_front(x, own)
        x = block(x, **mask)
        x = x[0] if isinstance(x, tuple) else x
    return x


def with_prompts(x: Tensor, prompts: Tensor, replaced: int) -> Tensor:
    kept = x[:, : x.shape[1] - replaced]
    return torch.cat([kept, prompts.expand(len(x), -1, -1)], dim=1)


def in_front(x: Tensor, prompts: Tensor) -> Tensor:
    count = len(prompts)
    return torch.cat([x[:, :1], prompts.expand(len(x), -1, -1), x[:, 1 + count :]], dim=1)


KINDS = [("open_clip", kind) for kind in OPEN_CLIP] + [
    ("transformers", kind) for kind in TRANSFORMERS
]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def both(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[OfOpenCLIP, CLIP]:
    """The library's model, and ours from the folder that it was saved in."""
    library, kind = request.param
    folder: Path = tmp_path_factory.mktemp(library)
    if library == "open_clip":
        own = OfOpenCLIP(other_clips.build_open_clip(kind))
        return own, load_clip(str(other_clips.write_open_clip(folder, kind)))
    own = OfTransformers(other_clips.build_transformers(kind))
    return own, load_clip(str(other_clips.write_transformers(folder, kind)))


@torch.no_grad()
def test_features_are_the_librarys(both) -> None:
    theirs, ours = both
    pixels, words = images(ours.resolution), tokens(ours.context_length)
    assert_close(ours.image(pixels), theirs.image_features(pixels))
    layout = PromptTemplate(TEMPLATE.text).layout(NAMES, ours.context_length)
    assert_close(ours.text(layout), theirs.text_features(words))
    assert ours.logit_scale.item() == pytest.approx(theirs.model.logit_scale.item())


def test_gradients_of_deep_prompts_are_the_librarys(both) -> None:
    theirs, ours = both
    source = torch.Generator().manual_seed(1)

    def drawn(width: int, layers: int) -> list[Tensor]:
        return [
            (0.3 * torch.randn(4, width, generator=source)).requires_grad_() for _ in range(layers)
        ]

    context, *deeper = text_prompts = drawn(ours.text.width, 2)
    layout = TEMPLATE.layout(NAMES, ours.context_length)
    steering = TextSteering(context=context, prompts=dict(enumerate(deeper, start=1)))
    reference = theirs.prompted_text(tokens(ours.context_length), text_prompts)
    compare(ours.text(layout, steering), reference, text_prompts)
    if ours.is_vit:
        pixels, prompts = images(ours.resolution), drawn(ours.image.width, 2)
        steering = ImageSteering(prompts=dict(enumerate(prompts)))
        reference = theirs.prompted_image(pixels, prompts)
        compare(ours.image(pixels, steering), reference, prompts)


def compare(ours: Tensor, reference: Tensor, learned: list[Tensor]) -> None:
    """Features and gradients agree."""
    assert_close(ours, reference)
    weights = torch.linspace(-1, 1, reference.numel()).view_as(reference)
    gradients = torch.autograd.grad((ours * weights).sum(), learned)
    references = torch.autograd.grad((reference * weights).sum(), learned)
    for gradient, expected in zip(gradients, references, strict=True):
        assert_close(gradient, expected)
