"""Sentences about classes, as language models write them: read from JSON, by class name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prompting.class_prompts import clean_name
from prompting.errors import InputError
from prompting.tensors import in_short

FILE = "{}_prompt.json"
# by registered name, as the published folder has them
FILES = {
    "Caltech101": "caltech",
    "DescribableTextures": "dtd",
    "EuroSAT": "eurosat",
    "FGVCAircraft": "fgvc",
    "Food101": "food101",
    "ImageNet": "imagenet",
    "OxfordFlowers": "oxford_flowers",
    "OxfordPets": "oxford_pets",
    "StanfordCars": "stanford_cars",
    "SUN397": "sun397",
    "UCF101": "ucf101",
    "BuiltinThings": "builtin_things",
    "BuiltinFlowers": "builtin_flowers",
    "BuiltinFabrics": "builtin_fabrics",
    "BuiltinFormations": "builtin_formations",
    "BuiltinColoured": "builtin_coloured",
}
_ADVICE = (
    "Name a JSON file {class name: [sentences]}, or a folder of such files in the published layout "
    "(gpt_file, NAME_prompt.json)"
)


def read(source: str, dataset: str, names: Sequence[str], own: Path) -> list[list[str]]:
    """The sentences about every class, K for each.

    Args:
        source: a file {class name: [sentences]}, or a folder with a file NAME_prompt.json a dataset; ""
            for the sentences that come with the built-in datasets.
        dataset: its registered name.
        names: the classes; an underscore is as good as a space.
        own: the folder of the sentences that come with the built-in datasets.

    Raises:
        InputError: there is no such file, it has another form, or a class has none or another number
            of sentences than the first one.
    """
    path = _file(source, dataset, own)
    content: dict[str, Any] = {}
    for name, sentences in _content(path).items():
        if content.setdefault(clean_name(name), sentences) != sentences:
            raise InputError(
                f"{path} has {name!r} twice, with _ and with a blank: keep one of them"
            )
    wanted = [clean_name(name) for name in names]
    if missing := [repr(name) for name in wanted if name not in content]:
        raise InputError(
            f"{path} has no sentences about {in_short(missing)}: add them, under the class's exact name"
        )
    found = [content[name] for name in wanted]
    for name, sentences in zip(wanted, found, strict=True):
        good = isinstance(sentences, list) and all(
            isinstance(s, str) and s.strip() for s in sentences
        )
        if not good or not sentences:
            raise InputError(f"{path}: {name!r} is {sentences!r:.80}; expected a list of sentences")
        if len(sentences) != len(found[0]):
            raise InputError(
                f"{path} has {len(found[0])} sentences about {wanted[0]!r} and {len(sentences)} about "
                f"{name!r}: every class needs as many"
            )
    return found


def _file(source: str, dataset: str, own: Path) -> Path:
    folder = Path(source).expanduser() if source else own
    if source and not folder.is_dir():
        if not folder.is_file():
            raise InputError(
                f"DESCRIPTIONS is {source!r}: there is no such file or folder. {_ADVICE}"
            )
        return folder
    path = folder / FILE.format(FILES.get(dataset, dataset.lower()))
    if not path.is_file():
        given = f"DESCRIPTIONS is {source!r}" + (f", without {path.name}" if source else "")
        raise InputError(
            f"there are no sentences about the classes of {dataset}: {given}. {_ADVICE}"
        )
    return path


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON in UTF-8: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no object: expected {{class name: [sentences]}}")
    return content
