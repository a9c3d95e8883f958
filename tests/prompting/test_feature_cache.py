"""Features of pictures: each encoded once, whoever asks, and again where anything has changed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
import torch

from prompting.feature_cache import picture_features


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PROMPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{number}.jpg" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number] * 9))
    return list(map(str, paths))


class Encoder:
    """The feature of a picture is its bytes; remembers what it was asked for."""

    def __init__(self, pictures: list[str]) -> None:
        self.pictures, self.asked = pictures, []

    def __call__(self, places) -> torch.Tensor:
        self.asked.append([self.pictures[place] for place in places])
        return torch.tensor([list(Path(path).read_bytes()[:3]) for path in self.asked[-1]]).float()


def ask(pictures: list[str], key: str = "key") -> tuple[list[float], list[list[str]]]:
    encode = Encoder(pictures)
    return picture_features(key, pictures, encode)[:, 0].tolist(), encode.asked


def test_what_is_there_is_not_encoded_and_the_order_is_that_of_the_question(pictures) -> None:
    assert ask(pictures[:3]) == ([0, 1, 2], [pictures[:3]])
    assert ask(pictures[2::-1]) == ([2, 1, 0], [])
    assert ask([pictures[4], pictures[1], pictures[3]]) == ([4, 1, 3], [[pictures[4], pictures[3]]])
    assert ask(pictures) == ([0, 1, 2, 3, 4], [])
    assert ask(pictures, "other weights") == ([0, 1, 2, 3, 4], [pictures])


def test_a_picture_that_was_replaced_is_encoded_again(pictures) -> None:
    ask(pictures)
    about = os.stat(pictures[1])
    Path(pictures[1]).write_bytes(bytes([8] * 9))
    os.utime(pictures[1], ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert ask(pictures) == ([0, 8, 2, 3, 4], [[pictures[1]]])


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_file_is_encoded_again_and_said(damage, pictures, cache, capsys) -> None:
    ask(pictures)
    (path,) = cache.rglob("*.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-40] if damage == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    assert ask(pictures) == ([0, 1, 2, 3, 4], [pictures])
    assert f"{path} is damaged" in capsys.readouterr().out
    assert ask(pictures)[1] == []


def test_a_cache_that_cannot_be_written_is_gone_without(pictures, cache, capsys) -> None:
    cache.write_text("a file where the folder should be")
    assert ask(pictures)[0] == [0, 1, 2, 3, 4]
    assert "are not kept" in capsys.readouterr().out


def test_of_two_that_ask_at_once_one_encodes(pictures) -> None:
    encode, began = Encoder(pictures), threading.Event()

    def slowly(places) -> torch.Tensor:
        began.set()
        time.sleep(0.3)
        return encode(places)

    first = threading.Thread(target=picture_features, args=("key", pictures, slowly))
    first.start()
    began.wait()
    assert picture_features("key", pictures, encode)[:, 0].tolist() == [0, 1, 2, 3, 4]
    first.join()
    assert len(encode.asked) == 1
