"""Where results may go: a file that is there is replaced only by a newer one of its own kind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from prompting.errors import InputError

CSV_HEAD = b"path,name,class_1,probability_1,"
JSON_HEAD = b'{"method": '
JSON_OPENING = b'"pictures": [\n'
LABELS = {"method", "backbone", "classes", "preprocessing", "input", "output", "opset"}


@dataclass(frozen=True)
class Kind:
    """What a command writes: its name, and whether a file is one."""

    name: str
    holds: Callable[[Path], bool]


def check_file(path: Path) -> None:
    """Refuse, before anything is computed, a file that could not be written.

    Raises:
        InputError: says why.
    """
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise InputError(f"{path} is no file: say in which file the answers shall be")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path} cannot be written: there is no permission to write in {folder}")


def check_output(path: Path, kind: Kind) -> None:
    """`check_file`, and refuse to replace what is not such an output. An empty file may be taken.

    Raises:
        InputError: says why.
    """
    check_file(path)
    if not path.exists() or not path.stat().st_size:
        return
    try:
        replaceable = kind.holds(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Give another name") from error
    if not replaceable:
        raise InputError(
            f"{path} is there already and is no {kind.name}, and would be lost: give another name"
        )


def check_graph(path: Path) -> None:
    """`check_output` for a graph and the description that is written beside it.

    Raises:
        InputError: says why.
    """
    check_output(labels_of(path), LABELS_JSON)
    check_output(path, ONNX)


def labels_of(graph: Path) -> Path:
    """The file that describes an ONNX graph, beside it."""
    return graph.with_suffix(".json")


def is_features(path: Path) -> bool:
    """Whether a file is one of class features."""
    return "about" in _metadata(path)


def _is_answers_csv(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(CSV_HEAD)) == CSV_HEAD


def _is_answers_json(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(JSON_HEAD)) == JSON_HEAD and file.readline().endswith(JSON_OPENING)


def _is_labels(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(content, dict) and content.keys() >= LABELS


def _is_graph(path: Path) -> bool:
    """A graph is ours by the description beside it: reading it would need what may not be installed."""
    labels = labels_of(path)
    return labels.is_file() and _is_labels(labels)


def _is_shared_prompts(path: Path) -> bool:
    """Prompts in a run's folder, which are not written by the export, name that folder."""
    try:
        return not json.loads(_metadata(path)["header"])["config"]["OUTPUT_DIR"]
    except (ValueError, LookupError, TypeError):
        return False


def _metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself; nothing where it is no such file."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except Exception:  # safetensors has its own error, and passes on those of the system
        return {}


CSV = Kind("CSV file of answers", _is_answers_csv)
JSON = Kind("JSON file of answers", _is_answers_json)
LABELS_JSON = Kind("description of an exported graph", _is_labels)
ONNX = Kind("exported graph with its description beside it", _is_graph)
FEATURES = Kind("file of class features", is_features)
PROMPTS = Kind("exported file of prompts", _is_shared_prompts)
