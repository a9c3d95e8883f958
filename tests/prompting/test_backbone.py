"""Where a CLIP comes from: a state dict, a TorchScript archive, or OpenAI's server."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
import warnings
from pathlib import Path

import clip.clip
import pytest
import torch
from safetensors.torch import save_file

from prompting.backbone import load_clip, openai
from prompting.class_prompts import layout, tokenize
from prompting.errors import InputError
from tests import tiny_clip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript archive like OpenAI's, in half precision and with its three extra entries."""
    folder = tmp_path_factory.mktemp("archive")

    class Archive(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    model = Archive()
    state = tiny_clip.build().state_dict()
    for name, value in state.items():
        parent = model
        *path, leaf = name.split(".")
        for part in path:
            if not hasattr(parent, part):
                parent.add_module(part, torch.nn.Module())
            parent = getattr(parent, part)
        parent.register_parameter(leaf, torch.nn.Parameter(value.half(), requires_grad=False))
    for name in ("input_resolution", "context_length", "vocab_size"):
        model.register_buffer(name, torch.tensor(77))
    path = folder / "clip.pt"
    torch.jit.script(model).save(str(path))
    return path


def test_torchscript_archive_is_widened_not_rounded_again(archive: Path) -> None:
    weights = load_clip(str(archive)).text.text_projection
    stored = tiny_clip.build().text_projection.half()
    assert weights.dtype == torch.float32
    assert torch.equal(weights, stored.float())


def test_openai_names_are_downloaded_with_their_checksum(
    archive: Path, tmp_path, monkeypatch
) -> None:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    served = tmp_path / "served" / digest
    served.mkdir(parents=True)
    (served / "RN50.pt").write_bytes(archive.read_bytes())
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served")
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(clip.clip._MODELS, "RN50", f"{address}/{digest}/RN50.pt")
    monkeypatch.setattr(openai, "CACHE", tmp_path / "cache")
    first = load_clip("RN50")
    server.shutdown()
    server.server_close()
    assert load_clip("RN50").fingerprint == first.fingerprint  # from the cache
    (tmp_path / "cache" / "RN50.pt").write_bytes(b"broken")
    with (
        pytest.warns(UserWarning, match="checksum does not match"),
        pytest.raises(InputError, match="RN50 cannot be downloaded"),
    ):
        load_clip("RN50")


def test_fingerprint_tells_weights_not_files(tmp_path: Path) -> None:
    one = load_clip(str(tiny_clip.write(tmp_path, seed=1)))
    (tmp_path / "elsewhere").mkdir()
    same = load_clip(str(tiny_clip.write(tmp_path / "elsewhere", seed=1)))
    other = load_clip(str(tiny_clip.write(tmp_path, seed=2)))
    assert one.fingerprint == same.fingerprint != other.fingerprint


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return tiny_clip.build().state_dict()


def saved(path: Path, thing: object) -> str:
    torch.save(thing, path)
    return str(path)


@pytest.mark.parametrize("kind", ["VIT", "RESNET"])
def test_a_traced_model_is_read_without_its_code(tmp_path: Path, kind: str, monkeypatch) -> None:
    model = tiny_clip.build(kind)
    image = torch.zeros(1, 3, model.visual.input_resolution, model.visual.input_resolution)
    path = str(tmp_path / "traced.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(model, (image, clip.tokenize("a"))).save(path)
    monkeypatch.setattr(torch.jit, "load", None)
    expected = load_clip(saved(tmp_path / "plain.pt", model.state_dict()))
    assert load_clip(path).fingerprint == expected.fingerprint


def test_only_openai_archives_by_checksum_run_in_torchscript(archive, monkeypatch) -> None:
    opened = []
    load = torch.jit.load
    monkeypatch.setattr(torch.jit, "load", lambda *a, **k: opened.append(a) or load(*a, **k))
    inert = load_clip(str(archive)).fingerprint
    assert not opened
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setitem(clip.clip._MODELS, "RN50", f"https://nowhere/{digest}/RN50.pt")
    assert load_clip(str(archive)).fingerprint == inert
    assert opened


def test_weights_come_in_many_wrappings(tmp_path: Path, state) -> None:
    expected = load_clip(saved(tmp_path / "plain.pt", state)).fingerprint
    parallel = {f"module.{name}": value for name, value in state.items()}
    optimizer = torch.optim.SGD(tiny_clip.build().parameters(), 0.1)
    training = {"state_dict": parallel, "epoch": 3, "optimizer": optimizer}
    assert load_clip(saved(tmp_path / "training.pt", training)).fingerprint == expected
    save_file(state, tmp_path / "clip.safetensors")
    assert load_clip(str(tmp_path / "clip.safetensors")).fingerprint == expected
    torch.save(state, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    assert load_clip(str(tmp_path / "legacy.pt")).fingerprint == expected


def test_a_size_altered_in_a_file_without_checksums_is_noticed(tmp_path: Path, state) -> None:
    shorter = {**state, "positional_embedding": state["positional_embedding"][:76]}
    torch.save(shorter, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    says = r"legacy\.pt: positional_embedding is \(76, 128\), and 9856 numbers are stored for it"
    with pytest.raises(InputError, match=says):
        load_clip(str(tmp_path / "legacy.pt"))


def test_every_weight_counts_in_the_fingerprint(tmp_path: Path, state) -> None:
    whole = load_clip(saved(tmp_path / "clip.pt", state))
    for name in ("visual.conv1.weight", "token_embedding.weight", "ln_final.bias"):
        changed = {**state, name: state[name].flip(0)}
        other = load_clip(saved(tmp_path / "clip.pt", changed))
        assert other.fingerprint != whole.fingerprint
    assert whole.earlier_fingerprint == "cd8bc7e03e3293b3"


def test_half_precision_weights_have_the_fingerprint_of_their_widened_copy(tmp_path, state) -> None:
    half = {name: value.half() for name, value in state.items()}
    wide = {name: value.float() for name, value in half.items()}
    one = load_clip(saved(tmp_path / "half.pt", half))
    assert one.fingerprint == load_clip(saved(tmp_path / "wide.pt", wide)).fingerprint


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, state, value) -> None:
    broken = state["visual.proj"].clone()
    broken[3, 4] = value
    with pytest.raises(InputError, match=r"visual\.proj holds NaN or infinite"):
        load_clip(saved(tmp_path / "clip.pt", {**state, "visual.proj": broken}))


def test_unusable_files_say_what_to_do(tmp_path: Path, state) -> None:
    rounded = {**state, "visual.proj": state["visual.proj"].to(torch.int8)}
    partial = {name: value for name, value in state.items() if name != "text_projection"}
    for thing, message in [
        (tiny_clip.build(), r"clip\.model\.CLIP.*save the model's state_dict\(\)"),
        (rounded, r"visual\.proj is no dense floating-point tensor but torch\.int8"),
        (partial, "OpenAI layout: text_projection is missing"),
        (
            {**state, "token_embedding.weight": torch.zeros(9, 128)},
            "it knows 9 tokens, where clip's tokenizer has 49408",
        ),
        ({**state, "logit_scale": torch.zeros(0)}, "OpenAI layout"),
        ({**state, "epoch": 3}, "not a state dict"),
        ({}, "OpenAI layout"),
        ([1], "not a state dict"),
    ]:
        with pytest.raises(InputError, match=message):
            load_clip(saved(tmp_path / "clip.pt", thing))
    for suffix in ("pt", "safetensors"):
        path = tmp_path / f"clip.{suffix}"
        save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(InputError, match="cannot be read"):
            load_clip(str(path))
    with pytest.raises(InputError, match="did you mean 'ViT-B/16'"):
        load_clip("ViT-B16")


def test_texts_of_another_length(tmp_path: Path, state) -> None:
    """More positions than 77 change nothing; a text that is longer than fewer is told."""
    table = state["positional_embedding"]
    longer = {**state, "positional_embedding": torch.cat([table, torch.ones(3, table.shape[1])])}
    shorter = {**state, "positional_embedding": table[:8]}
    text = layout([tokenize("a photo of a dog.")])
    features = [
        load_clip(saved(tmp_path / "clip.pt", weights)).text(text)
        for weights in (state, longer, shorter)
    ]
    assert torch.equal(features[0], features[1])
    assert torch.equal(features[0], features[2])
    with pytest.raises(InputError, match="9 tokens, and this CLIP's text encoder reads 8"):
        load_clip(saved(tmp_path / "clip.pt", shorter)).text(
            layout([tokenize("a photo of a red dog.")])
        )
