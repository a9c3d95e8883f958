"""The frozen model: two encoders and a scale, built from weights under OpenAI's names."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch
from clip.model import ModifiedResNet
from torch import Tensor, nn

from ..builtin.weights import VOCABULARY
from ..errors import InputError
from ..image_encoder import VisionTransformer
from ..text_encoder import TextEncoder
from ..transformer import HEAD_WIDTH, OPENAI, BlockKind
from .description import Description


class CLIP(nn.Module):
    """The two frozen encoders and the logit scale.

    `image` is a `VisionTransformer`, or `clip`'s own ModifiedResNet; `text` a `TextEncoder`.
    `fingerprint` identifies the weights and how they compute, whatever file they came from;
    `earlier_fingerprint` is what files of the first version hold in its place.

    Args:
        state: weights under OpenAI's names.
        description: what they do not say.
    """

    def __init__(self, state: Mapping[str, Tensor], description: Description | None = None) -> None:
        super().__init__()
        description = description or Description()
        found = sizes(state)
        self.is_vit = "patch" in found
        self.embed_dim: int = found["embed_dim"]
        self.resolution: int = found["resolution"]
        self.context_length: int = found["context_length"]
        self.images, self.notes = description.images, description.notes
        if found["vocabulary"] != VOCABULARY:
            raise InputError(
                f"it knows {found['vocabulary']} tokens, where clip's tokenizer has {VOCABULARY}"
            )
        image = replace(description.image, hidden=found.get("image_hidden"))
        text = replace(description.text, hidden=found["text_hidden"])
        self.image = _vision_tower(found, image)
        self.text = TextEncoder(
            vocabulary=found["vocabulary"],
            positions=self.context_length,
            width=found["text_width"],
            layers=found["text_layers"],
            embed_dim=self.embed_dim,
            kind=text,
        )
        self.logit_scale = nn.Parameter(state["logit_scale"].reshape(()))
        unusual = _unlike_openai(found, image, text)
        self.fingerprint = _fingerprint(state, unusual)
        self.earlier_fingerprint = _earlier_fingerprint(state, unusual)
        self.load_state_dict({_own_name(name): value for name, value in state.items()})
        self.requires_grad_(False).eval()

    @property
    def common_layers(self) -> int:
        """Layers that both encoders have; a ResNet has none."""
        return min(self.text.layers, self.image.layers) if self.is_vit else 0


def sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the shapes of weights under OpenAI's names say.

    Returns:
        embed_dim, context_length, vocabulary, text_width, text_layers, text_hidden (inside the MLP),
        image_width, image_layers, resolution; of a vision transformer also patch and image_hidden.

    Raises:
        KeyError: a weight is missing.
    """
    positions, width = state["positional_embedding"].shape
    found = {
        "embed_dim": state["text_projection"].shape[1],
        "context_length": positions,
        "vocabulary": len(state["token_embedding.weight"]),
        "text_width": width,
        "text_layers": _count(state, "transformer.resblocks.", ".ln_1.weight"),
        "text_hidden": len(state["transformer.resblocks.0.mlp.c_fc.bias"]),
    }
    if "visual.proj" in state:
        image_width, _, patch, _ = state["visual.conv1.weight"].shape
        grid = _grid(state["visual.positional_embedding"])
        return found | {
            "image_width": image_width,
            "image_layers": _count(state, "visual.transformer.resblocks.", ".ln_1.weight"),
            "image_hidden": len(state["visual.transformer.resblocks.0.mlp.c_fc.bias"]),
            "patch": patch,
            "resolution": grid * patch,
        }
    stages = (f"visual.layer{stage}." for stage in (1, 2, 3, 4))
    return found | {
        "image_width": len(state["visual.layer1.0.conv1.weight"]),
        "image_layers": [_count(state, stage, ".conv1.weight") for stage in stages],
        "resolution": 32 * _grid(state["visual.attnpool.positional_embedding"]),
    }


def _count(state: Mapping[str, Tensor], prefix: str, suffix: str) -> int:
    return sum(name.startswith(prefix) and name.endswith(suffix) for name in state)


def _grid(positions: Tensor) -> int:
    """Patches on a side, of a table with one further position."""
    return round((len(positions) - 1) ** 0.5)


def _vision_tower(found: Mapping[str, Any], kind: BlockKind) -> nn.Module:
    resolution, width, layers = found["resolution"], found["image_width"], found["image_layers"]
    if "patch" in found:
        return VisionTransformer(
            resolution, found["patch"], width, layers, found["embed_dim"], kind
        )
    # the pooling sees 32 times the width of the first stage
    return ModifiedResNet(layers, found["embed_dim"], kind.heads_of(width * 32), resolution, width)


def _own_name(name: str) -> str:
    if name == "logit_scale":
        return name
    tower, _, rest = name.partition(".")
    return f"image.{rest}" if tower == "visual" else f"text.{name}"


def _unlike_openai(found: Mapping[str, Any], image: BlockKind, text: BlockKind) -> list[str]:
    """What the same weights compute otherwise than OpenAI's would, a line each."""
    is_vit = "patch" in found
    lines = []
    for tower, kind, width in (
        ("image", image, found["image_width"] * (1 if is_vit else 32)),
        ("text", text, found["text_width"]),
    ):
        if kind.heads_of(width) != width // HEAD_WIDTH:
            lines.append(f"{tower} heads {kind.heads_of(width)}")
        if kind.activation != OPENAI.activation and (is_vit or tower == "text"):
            lines.append(f"{tower} activation {kind.activation}")
    return lines


def _fingerprint(state: Mapping[str, Tensor], unusual: list[str]) -> str:
    """A digest of all names, shapes and weights, in a fraction of the time that reading them takes."""

    def line(name: str) -> str:
        value = state[name].contiguous()
        checksum = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy())
        return f"{name}{tuple(value.shape)}{checksum}"

    with ThreadPoolExecutor() as pool:
        lines = [*pool.map(line, sorted(state)), *unusual]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _earlier_fingerprint(state: Mapping[str, Tensor], unusual: list[str]) -> str:
    """A digest of all names and shapes and of the one-dimensional weights."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name]
        digest.update(f"{name}{tuple(value.shape)}".encode())
        if value.ndim <= 1:
            digest.update(value.numpy().tobytes())
    digest.update("".join(unusual).encode())
    return digest.hexdigest()[:16]
