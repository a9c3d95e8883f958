"""Features of sentences: those of CLIP's own text encoder, each computed once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prompting import sentences
from prompting.backbone import CLIP, load_clip
from prompting.errors import InputError
from prompting.feature_store import FeatureStore
from prompting.sentences import encode_sentences, sentence_features
from tests import tiny_clip

TEXTS = ["a cat", "a dog that sleeps, on a mat.", "a cat", "x"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> CLIP:
    return load_clip(str(tiny_clip.write(tmp_path_factory.mktemp("clip"))))


def refuse() -> CLIP:
    raise AssertionError("nothing was to be computed")


def test_features_are_those_of_clips_own_text_encoder(clip: CLIP, monkeypatch) -> None:
    from clip import tokenize

    monkeypatch.setattr(sentences, "BATCH", 2)
    with torch.no_grad():
        expected = tiny_clip.build().encode_text(tokenize(TEXTS))
    expected = expected / expected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(encode_sentences(clip, TEXTS), expected, rtol=0, atol=1e-6)


def test_a_sentence_is_computed_once_whatever_stands_beside_it(clip: CLIP, tmp_path: Path) -> None:
    store, device = FeatureStore(tmp_path / "store"), torch.device("cpu")
    one, other = (store.texts(name, clip.embed_dim, device) for name in ("one", "other"))
    first = sentence_features(TEXTS, lambda: clip, one)
    again = sentence_features(TEXTS[1:], refuse, one)
    assert torch.equal(again, first[1:])
    for texts, fetch in ((TEXTS, other), (["a cow"], one)):
        with pytest.raises(AssertionError, match="nothing was to be computed"):
            sentence_features(texts, refuse, fetch)


def test_a_sentence_that_is_too_long_is_named(clip: CLIP) -> None:
    with pytest.raises(InputError, match=r"the sentence does not fit.*'word word"):
        encode_sentences(clip, ["word " * 80])
