"""From a name to a frozen CLIP."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ..builtin import BUILTIN
from ..errors import InputError
from ..tensors import in_short, unfit
from ..transformer import ACTIVATIONS, QUICK_GELU, BlockKind
from . import hub, hugging_face, open_clip, openai, refusal
from .description import Description, Pretrained
from .files import Find, beside, is_openai, read_json, read_weights
from .model import CLIP, sizes

# a repository may have both: open_clip's weights were trained by its own configuration
_LIBRARIES = (open_clip, hugging_face)
_WIDEST_OF_OPENAI = 1024
# endings of files of weights; other names may hold slashes and full stops too
_WEIGHTS = (".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".tar")


class _NoModel(InputError):
    """Neither configuration is there, or no weights."""


def load_clip(name: str, activation: str = "") -> CLIP:
    """The frozen CLIP of that name, in fp32 on the CPU and in evaluation mode.

    Args:
        name: an OpenAI name such as "ViT-B/16" (downloaded once, checksum verified, by `clip`);
            "open_clip:ARCHITECTURE/PRETRAINED_TAG" or "open_clip:ARCHITECTURE/FILE";
            "hf:ORGANISATION/NAME" on the Hugging Face hub; a folder of transformers or open_clip; a
            file of weights (a state dict by torch.save or safetensors, a training checkpoint with one,
            or a TorchScript archive), with its configuration beside it if it has one; or the name of a
            built-in model.
        activation: "quick_gelu" or "gelu", for weights without a configuration; "" for QuickGELU, as in
            OpenAI's files.

    Raises:
        InputError: none of these; a file that is damaged; a model that is no CLIP, or whose encoders
            compute something else; an activation other than the model's own.
    """
    if activation not in ("", *ACTIVATIONS):
        raise InputError(
            f"MODEL.BACKBONE.ACTIVATION is {activation!r}: expected {' or '.join(ACTIVATIONS)}, or '' "
            "where the model says it itself"
        )
    if not name:
        raise InputError(
            "no backbone is named: give --config-file one of the method's configurations, or --backbone"
        )
    found = _find(name)
    counts = {key for key in found.state if key.endswith("num_batches_tracked")}
    if problems := unfit({key: value for key, value in found.state.items() if key not in counts}):
        raise InputError(
            f"{name} cannot be used: {in_short(problems)}. Take another copy of the file"
        )
    refusal.check_names(name, found.state)
    with _no_clip(name):
        of = hugging_face if hugging_face.MARK in found.state else open_clip
        state = {key: value.detach().float() for key, value in of.to_openai(found.state).items()}
        there = sizes(state)
    if found.description:
        _check_stated(name, found.description, activation, there)
    with _no_clip(name):
        return CLIP(state, found.description or _assumed(name, activation, there))


@contextmanager
def _no_clip(name: str) -> Iterator[None]:
    """Name the file where its weights are not a CLIP's."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{name} does not hold a CLIP in OpenAI layout: {textwrap.shorten(why, 300).rstrip('.')}. "
            "Expected the weights of clip.model.CLIP, or of a CLIP of open_clip or transformers"
        ) from error


def is_path(name: str) -> bool:
    """Whether a backbone's name can only be that of a file or folder, here or on another machine."""
    return not name.startswith((open_clip.PREFIX, hub.PREFIX)) and (
        name.endswith(_WEIGHTS) or Path(name).is_absolute()
    )


def _find(name: str) -> Pretrained:
    if name in BUILTIN:
        return Pretrained(BUILTIN[name](), Description())
    if name in openai.NAMES:
        return openai.load(name)
    if name.startswith(open_clip.PREFIX):
        return open_clip.load(name.removeprefix(open_clip.PREFIX))
    if name.startswith(hub.PREFIX):
        return _from_hub(name)
    path = Path(name)
    if path.is_file():
        return _from_file(path)
    if path.is_dir():
        return _from_library(name, beside(path))
    known = [*openai.NAMES, *BUILTIN]
    near = difflib.get_close_matches(name, known, n=1)
    raise InputError(
        f"MODEL.BACKBONE.NAME is {name!r}, which is neither a file nor a known CLIP"
        + (f" (did you mean {near[0]!r}?)" if near else "")
        + f". OpenAI models: {', '.join(openai.NAMES)}; "
        f"built-in models: {', '.join(BUILTIN) or 'none'}; or give the path of a file or folder, "
        f"{open_clip.PREFIX}ARCHITECTURE/PRETRAINED_TAG or {hub.PREFIX}ORGANISATION/NAME"
    )


def _from_file(path: Path) -> Pretrained:
    if is_openai(path):
        return Pretrained(read_weights(path, trusted=True), Description())
    state = read_weights(path)
    library = hugging_face if hugging_face.MARK in state else open_clip
    beside_it = beside(path.parent)
    if there := beside_it(library.CONFIG):
        config = read_json(there)
        if library.recognises(config):
            return Pretrained(state, _described(library, str(path), config, beside_it))
    return Pretrained(state)


def _described(
    library: ModuleType, name: str, config: Mapping[str, Any], find: Find
) -> Description:
    try:
        return library.describe(name, config, find)
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"{name} has a configuration that makes no sense ({error!r}): copy {library.CONFIG} again"
        ) from error


def _from_hub(name: str) -> Pretrained:
    repository = hub.Repository(name.removeprefix(hub.PREFIX))
    try:
        return _from_library(name, repository)
    except _NoModel as error:
        if not repository.unreachable:
            raise
        raise InputError(
            f"{name} is not in the cache, and the hub cannot be asked: {repository.unreachable}. "
            "Fetch its folder elsewhere, and give the folder as the backbone"
        ) from error


def _from_library(name: str, find: Find) -> Pretrained:
    """A model of several files, the configuration first: it may tell that the rest is of no use."""
    for library in _LIBRARIES:
        there = find(library.CONFIG)
        if there is None or not library.recognises(config := read_json(there)):
            continue
        description = _described(library, name, config, find)
        if weights := next(filter(None, map(find, library.WEIGHTS)), None):
            return Pretrained(read_weights(weights, find), description)
    expected = " or ".join(
        f"{library.CONFIG} with {library.WEIGHTS[0]} (or {library.WEIGHTS[-1]})"
        for library in (open_clip, hugging_face)
    )
    raise _NoModel(f"{name} holds no model of open_clip or transformers: expected {expected}")


def _check_stated(
    name: str, description: Description, activation: str, there: Mapping[str, Any]
) -> None:
    """Compare what the configuration says with the weights, and with what the user says."""
    for key, stated in description.stated.items():
        if key in there and stated not in (None, there[key]):
            raise InputError(
                f"{name} does not fit its configuration: {key} is {stated} there and {there[key]} in "
                "the weights. Take both from the same place"
            )
    own = {description.text.activation}
    if "patch" in there:
        own.add(description.image.activation)
    if activation and own != {activation}:
        raise InputError(
            f"MODEL.BACKBONE.ACTIVATION is {activation}, but {name} says itself that it has "
            f"{' and '.join(sorted(own))}: leave MODEL.BACKBONE.ACTIVATION out"
        )


def _assumed(name: str, activation: str, there: Mapping[str, Any]) -> Description:
    """What is taken to hold of weights that come without a configuration."""
    if "patch" in there and there["image_width"] > _WIDEST_OF_OPENAI:
        raise InputError(
            f"{name} does not say how many attention heads its image encoder has, and with a width of "
            f"{there['image_width']} it is none of OpenAI's: put {open_clip.CONFIG} or "
            f"{hugging_face.CONFIG} beside it, or name {open_clip.PREFIX}ARCHITECTURE/FILE"
        )
    kind = BlockKind(activation=activation or QUICK_GELU)
    note = (
        f"{name} does not say its activation, which is taken to be QuickGELU, as in OpenAI's models. "
        "Most others have GELU: MODEL.BACKBONE.ACTIVATION gelu"
    )
    return Description(kind, kind, notes=() if activation else (note,))
