"""Reading what runs leave in their folders: whatever is in a file, what is wrong with it is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

RESULTS_FILE = "results.json"
CURVES_FILE = "curves.json"
CONFIG_FILE = "config.yaml"
MANIFEST_FILE = "manifest.json"

ADVICE = "Move it away and run again"


class RecordError(ValueError):
    """A file that a run has left does not hold what it should."""


def read(path: Path) -> dict[str, Any]:
    """A JSON or YAML file that a run has written.

    Raises:
        RecordError: it cannot be read, or does not hold a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise RecordError(f"{path} cannot be read: {reason}. {ADVICE}") from error
    if not isinstance(content, dict):
        raise RecordError(f"{path} holds no mapping of names to values. {ADVICE}")
    return content


def read_results(path: Path) -> dict[str, Any]:
    """A results.json, with an accuracy and a configuration (empty where it has none).

    Raises:
        RecordError: it cannot be read, or its accuracy is not a number from 0 to 100.
    """
    content = read(path)
    accuracy_of(content, path)
    config = content.setdefault("config", {})
    if not isinstance(config, dict) or not isinstance(config.get("TRAINER", {}), dict):
        raise RecordError(f"{path} has no configuration but {config!r:.60}. {ADVICE}")
    return content


def accuracy_of(results: dict[str, Any], path: Path) -> float:
    """The accuracy in a results.json, in percent.

    Raises:
        RecordError: it is missing, or not a number from 0 to 100.
    """
    metrics = results.get("metrics")
    accuracy = metrics.get("accuracy") if isinstance(metrics, dict) else None
    if accuracy is None:
        raise RecordError(f"{path} holds no accuracy. {ADVICE}")
    if not is_percentage(accuracy):
        raise RecordError(
            f"{path} has an accuracy of {accuracy!r:.60}: expected 0 to 100. {ADVICE}"
        )
    return float(accuracy)


def is_percentage(value: Any) -> bool:
    """Whether a value is a number from 0 to 100."""
    return _is_number(value) and 0 <= value <= 100


def read_curves(path: Path) -> dict[str, list[dict[str, Any]]]:
    """A curves.json: the epochs of a training, and the tests in between.

    Raises:
        RecordError: it holds something else.
    """
    content = read(path)
    needed = {"epochs": ("epoch",), "tests": ("epoch", "classes", "prompts", "accuracy")}
    for name, keys in needed.items():
        entries = content.get(name)
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict) and all(key in entry for key in keys) for entry in entries
        ):
            raise RecordError(f"{path} holds no list of {name} with {', '.join(keys)}. {ADVICE}")
    for entry in (*content["epochs"], *content["tests"]):
        for name, value in entry.items():
            if name not in ("classes", "prompts") and not _is_number(value):
                raise RecordError(f"{path} has {name} {value!r:.60}: expected a number. {ADVICE}")
    return content


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
