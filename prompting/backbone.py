"""A frozen CLIP by OpenAI name, by file in OpenAI layout, or by the name of a built-in one."""

from __future__ import annotations

import difflib
import hashlib
import textwrap
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clip.clip
import inert_reader
import torch
from clip.model import ModifiedResNet
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .builtin import BUILTIN
from .builtin.weights import VOCABULARY
from .errors import InputError
from .image_encoder import VisionTransformer
from .tensors import in_short, unfit, without_module
from .text_encoder import TextEncoder

CACHE = Path("~/.cache/clip")
# what OpenAI's archives hold beside the weights
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")


class CLIP(nn.Module):
    """The two frozen encoders and the logit scale.

    `image` is a `VisionTransformer`, or `clip`'s own ModifiedResNet; `text` a `TextEncoder`.
    `fingerprint` identifies the weights, whatever file they came from; `earlier_fingerprint` is what
    files of the first version hold in its place.
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
        vocabulary = len(state["token_embedding.weight"])
        if vocabulary != VOCABULARY:
            raise InputError(
                f"it knows {vocabulary} tokens, where clip's tokenizer has {VOCABULARY}"
            )
        self.text = TextEncoder(
            vocabulary=vocabulary,
            positions=positions,
            width=width,
            layers=_count(state, "transformer.resblocks.", ".ln_1.weight"),
            embed_dim=self.embed_dim,
        )
        self.logit_scale = nn.Parameter(state["logit_scale"].reshape(()))
        self.fingerprint = _fingerprint(state)
        self.earlier_fingerprint = _earlier_fingerprint(state)
        self.load_state_dict({_own_name(name): value for name, value in state.items()})
        self.requires_grad_(False).eval()

    @property
    def common_layers(self) -> int:
        """Layers that both encoders have; a ResNet has none."""
        return min(self.text.layers, self.image.layers) if self.is_vit else 0


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
    """A digest of all names, shapes and weights, in a fraction of the time that reading them takes."""

    def line(name: str) -> str:
        value = state[name].contiguous()
        checksum = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy())
        return f"{name}{tuple(value.shape)}{checksum}"

    with ThreadPoolExecutor() as pool:
        lines = list(pool.map(line, sorted(state)))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _earlier_fingerprint(state: dict[str, Tensor]) -> str:
    """A digest of all names and shapes and of the one-dimensional weights."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name]
        digest.update(f"{name}{tuple(value.shape)}".encode())
        if value.ndim <= 1:
            digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]


def load_clip(name: str) -> CLIP:
    """The frozen CLIP of that name, in fp32 on the CPU and in evaluation mode.

    Args:
        name: an OpenAI name such as "ViT-B/16" (downloaded once, checksum verified, by `clip`), the
            path of a file in OpenAI layout (a state dict by torch.save or safetensors, a training
            checkpoint with one, or a TorchScript archive), or the name of a built-in model.

    Raises:
        InputError: none of these, or a file that is damaged or not a CLIP in OpenAI layout.
    """
    state = without_module(_state_dict(name))
    state = {key: value for key, value in state.items() if not key.endswith(_NOT_WEIGHTS)}
    counts = {key for key in state if key.endswith("num_batches_tracked")}
    if problems := unfit({key: value for key, value in state.items() if key not in counts}):
        raise InputError(
            f"{name} cannot be used: {in_short(problems)}. Take another copy of the file"
        )
    try:
        return CLIP({key: value.detach().float() for key, value in state.items()})
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{name} does not hold a CLIP in OpenAI layout: {textwrap.shorten(why, 300).rstrip('.')}. "
            "Expected the weights of clip.model.CLIP, as a state dict or a TorchScript archive"
        ) from error


def _state_dict(name: str) -> dict[str, Tensor]:
    if name in BUILTIN:
        return BUILTIN[name]()
    if name in clip.clip._MODELS:
        return _read(_download(name), verified=True)
    if Path(name).is_file():
        return _read(Path(name))
    known = [*clip.clip._MODELS, *BUILTIN]
    near = difflib.get_close_matches(name, known, n=1)
    raise InputError(
        f"MODEL.BACKBONE.NAME is {name!r}, which is neither a file nor a known CLIP"
        + (f" (did you mean {near[0]!r}?)" if near else "")
        + f". OpenAI models: {', '.join(clip.clip._MODELS)}; "
        f"built-in models: {', '.join(BUILTIN) or 'none'}; or give the path of a checkpoint"
    )


def _download(name: str) -> Path:
    """The archive of an OpenAI model in the cache; `clip` compares its checksum, cached or not."""
    folder = CACHE.expanduser()
    try:
        return Path(clip.clip._download(clip.clip._MODELS[name], str(folder)))
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{name} cannot be downloaded from {clip.clip._MODELS[name]} to {folder}: {error}. Fetch "
            "it elsewhere and put it there, or give its path as the backbone"
        ) from error


def _read(path: Path, verified: bool = False) -> dict[str, Tensor]:
    """The tensors of a file by name; no code in it is executed, but that of OpenAI's own archives."""
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        elif not inert_reader.is_torchscript(path):
            state = inert_reader.load(path)
        elif verified or _is_openai(path):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                state = torch.jit.load(str(path), map_location="cpu").state_dict()
        else:
            state = inert_reader.load_torchscript(path)
    except inert_reader.RefusedFile as error:
        if error.wanted:
            raise InputError(
                f"{path} is not a state dict: it asks for {error.wanted}, as a whole pickled model "
                "does. Nothing was executed; save the model's state_dict() with torch.save instead"
            ) from error
        raise InputError(str(error)) from error
    except (RuntimeError, OSError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read as CLIP weights: {error}. Copy it again"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]  # of a training checkpoint
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise InputError(f"{path} is not a state dict: expected a dict of tensors by name")
    return state


def _is_openai(path: Path) -> bool:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return any(f"/{digest}/" in address for address in clip.clip._MODELS.values())
