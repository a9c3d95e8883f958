"""Features of sentences: computed once, kept by text and backbone, computed again where damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prompting import sentences
from prompting.backbone import CLIP, load_clip
from prompting.errors import InputError
from prompting.feature_cache import cache_folder
from prompting.sentences import encode_sentences, sentence_features
from tests import tiny_clip

TEXTS = ["a cat", "a dog that sleeps, on a mat.", "a cat", "x"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> CLIP:
    return load_clip(str(tiny_clip.write(tmp_path_factory.mktemp("clip"))))


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PROMPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refuse() -> CLIP:
    raise AssertionError("nothing was to be computed")


def test_features_are_those_of_clips_own_text_encoder(clip: CLIP, monkeypatch) -> None:
    from clip import tokenize

    monkeypatch.setattr(sentences, "BATCH", 2)
    with torch.no_grad():
        expected = tiny_clip.build().encode_text(tokenize(TEXTS))
    expected = expected / expected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(encode_sentences(clip, TEXTS), expected, rtol=0, atol=1e-6)


def test_they_are_computed_once_for_a_backbone_and_texts(clip: CLIP) -> None:
    first = sentence_features("one", TEXTS, lambda: clip)
    assert torch.equal(sentence_features("one", TEXTS, refuse), first)
    for other in (("two", TEXTS), ("one", [*TEXTS[1:], TEXTS[0]])):
        with pytest.raises(AssertionError, match="nothing was to be computed"):
            sentence_features(*other, refuse)


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_file_is_computed_again_and_said(
    damage: str, clip: CLIP, cache: Path, capsys: pytest.CaptureFixture
) -> None:
    first = sentence_features("one", TEXTS, lambda: clip)
    (path,) = cache.rglob("*.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-40] if damage == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    assert torch.equal(sentence_features("one", TEXTS, lambda: clip), first)
    assert f"{path} is damaged" in capsys.readouterr().out
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_gone_without(
    clip: CLIP, cache: Path, capsys: pytest.CaptureFixture
) -> None:
    cache.write_text("a file where the folder should be")
    assert len(sentence_features("one", TEXTS, lambda: clip)) == len(TEXTS)
    assert "are not kept" in capsys.readouterr().out


def test_the_users_cache_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMPT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/prompt-learning")


def test_a_sentence_that_is_too_long_is_named(clip: CLIP) -> None:
    with pytest.raises(InputError, match=r"the sentence does not fit.*'word word"):
        encode_sentences(clip, ["word " * 80])
