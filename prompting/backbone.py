"""A frozen CLIP by OpenAI name, by file in OpenAI layout, or by the name of a built-in one."""

from __future__ import annotations

import difflib
import hashlib
import zipfile
from pathlib import Path

import clip.clip
import torch
from clip.model import ModifiedResNet
from torch import Tensor, nn

from .builtin import BUILTIN
from .image_encoder import VisionTransformer
from .text_encoder import TextEncoder

CACHE = Path("~/.cache/clip")


class CLIP(nn.Module):
    """The two frozen encoders and the logit scale.

    `image` is a `VisionTransformer`, or `clip`'s own ModifiedResNet; `text` a `TextEncoder`.
    `fingerprint` identifies the weights, whatever file they came from.
    """

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.is_vit = "visual.proj" in state
        self.embed_dim = state["text_projection"].shape[1]
        self.image = _vision_tower(state, self.embed_dim)
        self.resolution: int = (
            getattr(self.image, "resolution", None) or self.image.input_resolution
        )
        positions, width = state["positional_embedding"].shape
        self.text = TextEncoder(
            vocabulary=state["token_embedding.weight"].shape[0],
            positions=positions,
            width=width,
            layers=_count(state, "transformer.resblocks.", ".ln_1.weight"),
            embed_dim=self.embed_dim,
        )
        self.logit_scale = nn.Parameter(state["logit_scale"])
        self.fingerprint = _fingerprint(state)
        self.load_state_dict({_own_name(name): value for name, value in state.items()})
        self.requires_grad_(False).eval()


def _own_name(name: str) -> str:
    if name == "logit_scale":
        return name
    tower, _, rest = name.partition(".")
    return f"image.{rest}" if tower == "visual" else f"text.{name}"


def _count(state: dict[str, Tensor], prefix: str, suffix: str) -> int:
    return sum(name.startswith(prefix) and name.endswith(suffix) for name in state)


def _vision_tower(state: dict[str, Tensor], embed_dim: int) -> nn.Module:
    if "visual.proj" in state:
        width, _, patch, _ = state["visual.conv1.weight"].shape
        grid = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
        layers = _count(state, "visual.transformer.resblocks.", ".ln_1.weight")
        return VisionTransformer(grid * patch, patch, width, layers, embed_dim)
    width = state["visual.layer1.0.conv1.weight"].shape[0]
    grid = round((len(state["visual.attnpool.positional_embedding"]) - 1) ** 0.5)
    depths = [_count(state, f"visual.layer{stage}.", ".conv1.weight") for stage in (1, 2, 3, 4)]
    return ModifiedResNet(depths, embed_dim, width * 32 // 64, grid * 32, width)


def _fingerprint(state: dict[str, Tensor]) -> str:
    """A digest of all names and shapes and of the one-dimensional weights: cheap, and telling."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name]
        digest.update(f"{name}{tuple(value.shape)}".encode())
        if value.ndim <= 1:
            digest.update(value.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def load_clip(name: str) -> CLIP:
    """The frozen CLIP of that name, in fp32 on the CPU and in evaluation mode.

    Args:
        name: an OpenAI name such as "ViT-B/16" (downloaded once, checksum verified, by `clip`), the
            path of a file in OpenAI layout (a state dict or a TorchScript archive), or the name of a
            built-in model.

    Raises:
        ValueError: none of these, or a file that is not a CLIP in OpenAI layout.
    """
    state = {key: value.detach().float() for key, value in _state_dict(name).items()}
    for key in ("input_resolution", "context_length", "vocab_size"):
        state.pop(key, None)
    try:
        return CLIP(state)
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"{name} does not hold a CLIP in OpenAI layout: {error}. Expected the weights of "
            "clip.model.CLIP, as a state dict or a TorchScript archive"
        ) from error


def _state_dict(name: str) -> dict[str, Tensor]:
    if name in BUILTIN:
        return BUILTIN[name]()
    if name in clip.clip._MODELS:
        return _read(Path(clip.clip._download(clip.clip._MODELS[name], str(CACHE.expanduser()))))
    if Path(name).is_file():
        return _read(Path(name))
    known = [*clip.clip._MODELS, *BUILTIN]
    near = difflib.get_close_matches(name, known, n=1)
    raise ValueError(
        f"MODEL.BACKBONE.NAME is {name!r}, which is neither a file nor a known CLIP"
        + (f" (did you mean {near[0]!r}?)" if near else "")
        + f". OpenAI models: {', '.join(clip.clip._MODELS)}; "
        f"built-in models: {', '.join(BUILTIN) or 'none'}; or give the path of a checkpoint"
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if _is_torchscript(path):
            return torch.jit.load(str(path), map_location="cpu").state_dict()
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as CLIP weights: {error}. It may be truncated: remove it and "
            "fetch it again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path} is not a state dict: expected a dict of tensors by name")
    return state


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())
