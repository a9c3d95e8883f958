"""The shared-prefix encoder and the prompted image encoder against the plain formula."""

from __future__ import annotations

import string

import clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import plain
from prompting import packing
from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate, layout
from prompting.prompted_clip import template_features
from prompting.steering import ImageSteering, TextSteering
from tests import tiny_clip

MODEL = tiny_clip.build()
OURS = CLIP(MODEL.state_dict())
WIDTH = 128

NAMES = st.lists(
    st.text(string.ascii_letters + string.digits + " _-.,!?()'/&é", min_size=1, max_size=60),
    min_size=1,
    max_size=7,
)


def vectors(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return (0.3 * torch.randn(*shape, generator=generator)).requires_grad_()


def check(ours: torch.Tensor, reference: torch.Tensor, learned: list[torch.Tensor]) -> None:
    """Features and gradients agree to 1e-5, relative in norm."""
    weights = torch.linspace(-1, 1, reference.numel()).view_as(reference)
    gradients = torch.autograd.grad((ours * weights).sum(), learned)
    references = torch.autograd.grad((reference * weights).sum(), learned)
    pairs = [(ours, reference), *zip(gradients, references, strict=True)]
    for value, expected in pairs:
        assert (value - expected).norm() <= 1e-5 * expected.norm().clamp_min(1e-3)


@settings(max_examples=25, deadline=None)
@given(names=NAMES, position=st.sampled_from(["end", "middle", "front"]), specific=st.booleans())
def test_any_names_positions_and_class_specific_contexts(names, position, specific) -> None:
    count = 4
    context = vectors(len(names), count, WIDTH) if specific else vectors(count, WIDTH)
    prompts = PromptTemplate("X X X X {}.", count, position, specific).layout(names)
    ours = OURS.text(prompts, TextSteering(context=context.reshape(-1, WIDTH)))
    reference = plain.text_features(
        MODEL, *plain.prompt_vectors(MODEL, names, "X X X X", context, position)
    )
    check(ours, reference, [context])


@settings(max_examples=10, deadline=None)
@given(names=NAMES, depth=st.integers(1, 4), count=st.integers(1, 4))
def test_deep_prompts_with_leftover_words(names, depth, count) -> None:
    context = vectors(count, WIDTH)
    deep = [vectors(count, WIDTH) for _ in range(depth - 1)]
    prompts = PromptTemplate("a photo of a {}.", count).layout(names)
    inputs = plain.prompt_vectors(MODEL, names, "a photo of a", context)
    check(
        OURS.text(prompts, TextSteering(context=context, prompts=dict(enumerate(deep, start=1)))),
        plain.text_features(MODEL, *inputs, plain.text_prompts(deep)),
        [context, *deep],
    )


def test_one_context_an_image() -> None:
    names = ["cat", "golden retriever", "a very long name of a class indeed", "x"]
    contexts = vectors(3, 4, WIDTH)
    prompts = PromptTemplate("a photo of a {}.", 4).layout(names)
    ours = OURS.text(prompts, TextSteering(context=contexts))
    reference = torch.stack(
        [
            plain.text_features(MODEL, *plain.prompt_vectors(MODEL, names, "a photo of a", context))
            for context in contexts
        ]
    )
    check(ours, reference, [contexts])


def test_prefix_is_shared_and_nothing_after_eot_is_encoded() -> None:
    prompts = PromptTemplate("a photo of a {}.", 4).layout(["cat", "dog", "golden retriever"])
    assert len(prompts.prefix) == 5  # SOS and the context
    assert len(prompts.suffix) == 3 + 3 + 4  # name, full stop, EOT
    assert len(PromptTemplate("X X {}.", 2, "middle").layout(["cat", "dog"]).prefix) == 2
    assert len(PromptTemplate("X X {}.", 2, "front").layout(["cat", "dog"]).prefix) == 1


def test_a_single_class_keeps_its_last_position() -> None:
    prompts = layout([[7, 8, 9]])
    assert (len(prompts.prefix), len(prompts.suffix)) == (2, 1)


def test_templates_equal_clips_own_text_encoder() -> None:
    names = ["cat", "aircraft_carrier", "lace-like texture"]
    templates = ["a photo of a {}.", "{} texture.", "itap of the {}, in a video game."]
    for template, ours in zip(templates, template_features(OURS, templates, names), strict=True):
        texts = [template.format(name.replace("_", " ")) for name in names]
        torch.testing.assert_close(ours, MODEL.encode_text(clip.tokenize(texts)))


@pytest.mark.parametrize("depth", [0, 1, 3, 4])
def test_image_encoder_with_deep_prompts(depth: int) -> None:
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    prompts = [vectors(3, WIDTH) for _ in range(depth)]
    reference = plain.image_features(MODEL, images, plain.image_prompts(MODEL, prompts))
    ours = OURS.image(images, ImageSteering(prompts=dict(enumerate(prompts))))
    if depth:
        check(ours, reference, prompts)
    torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["VIT", "RESNET"])
def test_unprompted_encoders_equal_clips_own(kind: str) -> None:
    seed = 7
    model = tiny_clip.build(kind, seed)
    ours = CLIP(model.state_dict())
    images = torch.randn(2, 3, ours.resolution, ours.resolution)
    torch.testing.assert_close(ours.image(images), model.encode_image(images), rtol=1e-4, atol=1e-5)


def test_names_that_do_not_fit_are_named_with_what_is_too_much() -> None:
    template = PromptTemplate("a photo of a {}.", 4)
    # SOS, four words, the name, a full stop and EOT
    template.layout(["word " * 70])
    with pytest.raises(ValueError, match=r"does not fit into CLIP's 77 tokens.*\(1 too many\)"):
        template.layout(["cat", "word " * 71])
    with pytest.raises(
        ValueError, match=r"2 prompts do not fit.*dog.*\(4 too many\); .*cow.*\(10 "
    ):
        template.layout(["dog " * 74, "cat", "cow " * 80])


def test_plain_prompts_share_their_leading_words() -> None:
    assert len(PromptTemplate("a photo of a {}.").layout(["cat", "dog"]).prefix) == 5


@pytest.mark.parametrize("text", ["a photo.", "{} {}"])
def test_a_template_without_one_place_for_the_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected one, where the class name stands"):
        PromptTemplate(text)


@pytest.mark.parametrize(("text", "before"), [("X X X X {}.", 4), ("{} texture.", 0)])
def test_context_vectors_never_take_the_place_of_the_name(text: str, before: int) -> None:
    PromptTemplate(text, before).layout(["ant"])
    says = (
        rf"has {before} tokens before the class name, and {before + 1} context vectors would take"
    )
    with pytest.raises(ValueError, match=says):
        PromptTemplate(text, before + 1).layout(["ant"])


@settings(max_examples=10, deadline=None)
@given(names=NAMES, layer=st.integers(1, 3), count=st.integers(1, 4))
def test_class_tokens_equal_a_deep_prompt_of_each_class(names, layer, count) -> None:
    """Encoding each class alone, with its tokens as the deep prompt of that layer."""
    context, tokens = vectors(4, WIDTH), vectors(len(names), count, WIDTH)
    template = PromptTemplate("X X X X {}, a kind of thing.", 4)
    steering = TextSteering(context=context, class_tokens={layer: tokens})
    alone = [
        OURS.text(template.layout([name]), TextSteering(context=context, prompts={layer: own}))
        for name, own in zip(names, tokens, strict=True)
    ]
    check(OURS.text(template.layout(names), steering), torch.cat(alone), [context, tokens])


def test_layouts_used_in_turn_are_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = []
    pack = packing._pack
    monkeypatch.setattr(packing, "_pack", lambda *args: packed.append(1) or pack(*args))
    template = PromptTemplate("a photo of a {}.")
    one, other = template.layout(["cat", "dog"]), template.layout(["bird"])
    OURS.text(one), OURS.text(other)
    first = len(packed)
    OURS.text(one), OURS.text(other)
    assert first > 0
    assert len(packed) == first


def test_the_backward_pass_keeps_keys_and_values_once() -> None:
    names = [f"{'w' * (n % 5 + 1)} {n}" for n in range(40)]
    prompts = PromptTemplate("a photo of a {}.", 4).layout(names)
    sizes: set[int] = set()

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes.add(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        OURS.text(prompts, TextSteering(context=vectors(4, WIDTH)))
    rows = prompts.rows
    queries = rows.count * rows.length * WIDTH * 4
    with_prefix = queries // rows.length * (rows.length + len(prompts.prefix))
    assert {queries, with_prefix} <= sizes  # of queries, and of keys or values behind the prefix's
    assert 3 * queries not in sizes
