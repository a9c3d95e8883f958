"""Where a CLIP comes from: a state dict, a TorchScript archive, or OpenAI's server."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from pathlib import Path
from urllib.error import URLError

import clip.clip
import pytest
import torch

from prompting import backbone
from prompting.backbone import load_clip
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
    monkeypatch.setattr(backbone, "CACHE", tmp_path / "cache")
    first = load_clip("RN50")
    server.shutdown()
    server.server_close()
    assert load_clip("RN50").fingerprint == first.fingerprint  # from the cache
    (tmp_path / "cache" / "RN50.pt").write_bytes(b"broken")
    with pytest.warns(UserWarning, match="checksum does not match"), pytest.raises(URLError):
        load_clip("RN50")


def test_fingerprint_tells_weights_not_files(tmp_path: Path) -> None:
    one = load_clip(str(tiny_clip.write(tmp_path, seed=1)))
    (tmp_path / "elsewhere").mkdir()
    same = load_clip(str(tiny_clip.write(tmp_path / "elsewhere", seed=1)))
    other = load_clip(str(tiny_clip.write(tmp_path, seed=2)))
    assert one.fingerprint == same.fingerprint != other.fingerprint
