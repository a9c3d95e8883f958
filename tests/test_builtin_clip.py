"""The built-in CLIP: its small file, the full layout it stands for, and what it knows."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import clip
import numpy as np
import pytest
import torch
from clip.model import CLIP
from safetensors.torch import load_file
from torch import Tensor

from datasets.world.sets import SETS
from pretraining.captions import FLOWER_RATES, caption, captions, picture
from pretraining.data import draw_set, normalise_pictures
from pretraining.model import Dimensions
from pretraining.train import train
from prompting.backbone import load_clip
from prompting.builtin import BUILTIN
from prompting.builtin.weights import SEEN, TABLE, WEIGHTS, read_weights, write_weights
from prompting.class_prompts import tokenize
from prompting.errors import InputError
from prompting.prompted_clip import normalise, template_features
from trainers import templates

NAME = "builtin-vit-small"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return BUILTIN[NAME]()


def test_file_is_small():
    assert WEIGHTS.stat().st_size <= 6e6


def test_full_layout_loads_strictly_into_openai_clip(state):
    vision = sum(k.startswith("visual.") and k.endswith("ln_1.weight") for k in state)
    text = sum(k.startswith("transformer.") and k.endswith("ln_1.weight") for k in state)
    width, _, patch, _ = state["visual.conv1.weight"].shape
    grid = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
    text_width = state["ln_final.weight"].shape[0]
    model = CLIP(
        state["text_projection"].shape[1], grid * patch, vision, width, patch,
        77, 49408, text_width, text_width // 64, text,
    )  # fmt: skip
    model.load_state_dict(state, strict=True)
    images, tokens = (
        torch.rand(2, 3, grid * patch, grid * patch),
        clip.tokenize(["a star", "a cat"]),
    )
    ours = load_clip(NAME)
    with torch.no_grad():
        torch.testing.assert_close(ours.image(images), model.eval().encode_image(images))
        texts = next(template_features(ours, ["a {}"], ["star", "cat"]))
        torch.testing.assert_close(texts, model.encode_text(tokens), rtol=1e-4, atol=1e-5)


def test_values_are_those_of_half_precision_and_always_the_same(state):
    again = read_weights()
    for name, value in state.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, value.half().float()), name
        assert torch.equal(value, again[name]), name


def test_rows_seen_are_kept_and_the_others_rebuilt(state):
    file = load_file(WEIGHTS)
    seen = file[SEEN].long()
    assert torch.equal(state[TABLE][seen], file[TABLE].float())
    unseen = np.delete(state[TABLE].numpy(), seen.numpy(), axis=0)
    assert len(unseen) == 49408 - len(seen)
    assert unseen.std() == pytest.approx(0.02, rel=0.02)


def test_every_word_that_the_methods_use_was_seen():
    seen = set(load_file(WEIGHTS)[SEEN].tolist())
    frames = [
        *templates.TEACHER,
        *templates.IMAGENET_SELECTED,
        *templates.DATASETS.values(),
        templates.DEFAULT,
    ]
    names = [name for each in SETS.values() for name in each.classes]
    unknown = [
        text for text in frames for token in tokenize(text.format("star")) if token not in seen
    ]
    unknown += [
        name for name in names for token in tokenize(f"a photo of a {name}.") if token not in seen
    ]
    assert not unknown


@pytest.mark.parametrize("key", SETS)
def test_zero_shot_stands_well_above_chance(key):
    world_set = SETS[key]
    model = load_clip(NAME)
    side = (model.resolution, model.resolution)
    drawn = [
        world_set.draw(label, index).resize(side, 3)
        for label in range(len(world_set.classes))
        for index in range(4)
    ]
    labels = torch.arange(len(world_set.classes)).repeat_interleave(4)
    with torch.no_grad():
        images = normalise(model.image(normalise_pictures(np.stack(drawn))))
        texts = next(template_features(model, ["a photo of a {}."], world_set.classes))
    accuracy = ((images @ normalise(texts).t()).argmax(1) == labels).float().mean()
    assert accuracy > 4 / len(world_set.classes)


def test_exported_file_is_read_by_clip(tmp_path, state):
    path = tmp_path / "clip.pt"
    subprocess.run([sys.executable, "-m", "prompting.builtin", str(path)], check=True)
    model, _ = clip.load(str(path), device="cpu")
    assert torch.equal(model.state_dict()[TABLE], state[TABLE])
    assert torch.equal(load_clip(str(path)).text.token_embedding.weight, state[TABLE])


def test_write_and_read(tmp_path):
    small = {TABLE: torch.ones(2, 8), "logit_scale": torch.tensor(1.5)}
    write_weights(tmp_path / "w", small, [5, 49407], seed=3, notes={"by": "a test"})
    full = read_weights(tmp_path / "w")
    assert full["logit_scale"] == 1.5
    assert torch.equal(full[TABLE][[5, 49407]], torch.ones(2, 8))
    write_weights(tmp_path / "x", small, [5, 49407], seed=4, notes={})
    assert not torch.equal(full[TABLE][6], read_weights(tmp_path / "x")[TABLE][6])


def test_missing_and_damaged_files_are_said(tmp_path):
    with pytest.raises(InputError, match="pretraining"):
        read_weights(tmp_path / "none")
    (tmp_path / "damaged").write_bytes(WEIGHTS.read_bytes()[:1000])
    with pytest.raises(InputError, match="Restore"):
        read_weights(tmp_path / "damaged")


def test_captions_repeat_and_vary():
    subject = picture(1, 0)
    said = captions(subject, 1, 0, 20)
    assert said == captions(picture(1, 0), 1, 0, 20)
    assert len(set(said)) > 5
    assert captions(subject, 2, 0, 20) != said


def test_names_are_given_as_seldom_as_they_should_be():
    random = np.random.default_rng(0)
    subject = next(s for s in (picture(1, i) for i in range(1000)) if s.kind == "flower")
    rate = np.mean([subject.name in caption(random, subject) for _ in range(4000)])
    assert rate == pytest.approx(FLOWER_RATES[subject.name], abs=0.03)


@pytest.fixture
def one_thread():
    """Tiny tensors are not worth a second thread, least of all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_pretraining_learns_and_repeats(one_thread):
    data = draw_set(1, 64, 2, 16)
    sizes = replace(
        Dimensions(), resolution=16, width=64, vision_layers=1, text_layers=1, embed_dim=32
    )
    recipe = {"steps": 300, "batch": 16, "peak": 2e-3}
    model, log = train(data, sizes, **recipe)
    again, same = train(data, sizes, **recipe)
    assert log[-1][1] < 0.8 * np.log(16)
    assert [row[:3] for row in log] == [row[:3] for row in same]
    assert torch.equal(model.image.conv1.weight, again.image.conv1.weight)
    assert model.openai_state()[TABLE].shape == (len(data.vocabulary), 64)
