"""Merging files and KEY VALUE pairs into a configuration, whichever Dassl it comes from.

The default of an option says how its value is read: text stays text, whole numbers pass for
numbers, one value passes for a tuple. yacs reads the value first and then compares types, and it
executes configurations that are Python files.
"""

from __future__ import annotations

import difflib
from ast import literal_eval
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from prompting.errors import InputError

SUFFIXES = (".yaml", ".yml")

# what 32 bits hold of whole numbers, and of others with room for a product
_LARGEST = {int: 2**31 - 1, float: 1e30}

# a key such as OPTIM.LR, its value as it was written (None: a list), its value as it is read
_Given = tuple[str, "str | None", Any]


class MissingConfiguration(InputError, FileNotFoundError):
    """A configuration file that is not there."""


def merge(cfg: CfgNode, source: str | Path | Sequence[Any]) -> None:
    """Change a configuration in place; where an error is raised, nothing of it changes.

    Args:
        cfg: any yacs configuration.
        source: the path of a YAML file, or KEY, VALUE, KEY, VALUE, ... with keys such as OPTIM.LR,
            and values as text, as on a command line, or as Python's values.

    Raises:
        MissingConfiguration: there is no such file.
        InputError: the file is not YAML in UTF-8, or empty; a key is unknown, or a value is not
            what its default is.
    """
    is_file = isinstance(source, (str, Path))
    try:
        given = _read_file(Path(source)) if is_file else _read_pairs(source)
        merged = [_fit(cfg, _own_key(cfg, key), *value) for key, *value in given]
    except InputError as error:
        raise type(error)(f"{source}: {error}" if is_file else str(error)) from error
    for node, name, value in merged:
        node[name] = value


def _read_pairs(pairs: Sequence[Any]) -> Iterator[_Given]:
    for position in range(0, len(pairs), 2):
        key, *value = pairs[position : position + 2]
        flags = [word for word in (key, *value) if str(word).startswith("--")]
        if flags or key.startswith("-"):
            raise InputError(
                f"{(*flags, key)[0]} stands among the KEY VALUE pairs; flags come before "
                "KEY VALUE pairs"
            )
        if "=" in key:
            raise InputError(f'{key} is no KEY VALUE pair: write "{key.replace("=", " ", 1)}"')
        if not value:
            raise InputError(f"{key} has no value; expected KEY VALUE pairs, such as OPTIM.LR 0.1")
        read = _literal(value[0])
        written = read if isinstance(read, str) else value[0]
        yield key, None if isinstance(written, (list, tuple, dict)) else str(written), read


def _read_file(path: Path) -> Iterator[_Given]:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"a configuration is YAML, and its name ends in {' or '.join(SUFFIXES)}")
    if not path.is_file():
        files = (p for p in path.parent.glob("*") if p.suffix.lower() in SUFFIXES)
        there = sorted(p.stem for p in files if p.name != "published.yaml")  # rules of the papers
        raise MissingConfiguration(
            f"there is no configuration of this name in {path.parent.resolve()}; beside it are: "
            f"{', '.join(there) or 'none'}"
        )
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8-sig"))
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise InputError("this holds no options; expected lines such as OPTIM: and below LR: 1")
        yield from _read_mapping(loader, root, "")
    except UnicodeDecodeError as error:
        raise InputError(f"this is not UTF-8 ({error}); save it in that encoding") from error
    except yaml.YAMLError as error:
        raise InputError(f"this is not YAML: {' '.join(str(error).split())}") from error


def _read_mapping(
    loader: yaml.SafeLoader, mapping: yaml.MappingNode, prefix: str
) -> Iterator[_Given]:
    names = [str(name.value) for name, _ in mapping.value]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{prefix}{name} is there twice; keep one of them")
    loader.flatten_mapping(mapping)
    for name, node in mapping.value:
        key = f"{prefix}{name.value}"
        if isinstance(node, yaml.MappingNode):
            yield from _read_mapping(loader, node, f"{key}.")
        else:
            value = _literal(loader.construct_object(node, deep=True))
            # as written: 007, 2024-01-01 and yes are names as good as others
            text = node.value if isinstance(node, yaml.ScalarNode) else None
            yield key, "" if value is None else text, value


def _literal(value: Any) -> Any:
    """What a text says in Python's notation, such as (224, 224) or 1e-5; all else as it is."""
    if isinstance(value, str):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            return literal_eval(value.strip())
    return value


def _own_key(cfg: CfgNode, key: str) -> str:
    """The key as it is here, where yacs knows it as renamed."""
    return cfg.__dict__[CfgNode.RENAMED_KEYS].get(key, key)


def _fit(cfg: CfgNode, key: str, text: str | None, value: Any) -> tuple[CfgNode, str, Any]:
    """Where a value belongs, and the value in the type of its default."""
    node = cfg
    *path, name = key.split(".")
    for part in path:
        node = node.get(part)
        if not isinstance(node, CfgNode):
            raise _unknown(cfg, key)
    if name not in node:
        if node.is_new_allowed():
            return node, name, value
        raise _unknown(cfg, key)
    default = node[name]
    if isinstance(default, CfgNode):
        raise InputError(
            f"{key} is a group of options ({', '.join(default) or 'none'}) and takes no value of "
            "its own"
        )
    try:
        return node, name, _in_type_of(default, text, value)
    except InputError as error:
        shown = text if text is not None else value
        raise InputError(f'{key} is "{shown}"; expected {error}, such as {default!r}') from error


def _in_type_of(default: Any, text: str | None, value: Any) -> Any:
    if isinstance(default, str):
        if text is None:
            raise InputError("text")
        return text
    if isinstance(default, bool):
        known = {"true": True, "false": False}
        value = known.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(value, bool):
            raise InputError("True or False")
        return value
    if isinstance(default, (int, float)):
        return _number(type(default), value)
    if isinstance(default, (list, tuple)):
        return type(default)(_item(default, item) for item in _items(value))
    if default is not None and type(value) is not type(default):
        raise InputError(type(default).__name__)
    return value


def _number(kind: type, value: Any) -> int | float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    with suppress(OverflowError):
        if is_number and abs(value) <= _LARGEST[kind] and kind(value) == value:
            return kind(value)
    named = "a whole number" if kind is int else "a number"
    raise InputError(f"{named} of at most {_LARGEST[kind]}" if is_number else named)


def _items(value: Any) -> Sequence[Any]:
    """The values of a list; one value is a list of it."""
    if isinstance(value, str) and value.startswith(("(", "[")):
        raise InputError("a list in Python's notation")
    if value is None or isinstance(value, dict):
        raise InputError("a list")
    return value if isinstance(value, (list, tuple)) else (value,)


def _item(default: Sequence[Any], item: Any) -> Any:
    kinds = {type(one) for one in default}
    if float in kinds:
        return _number(float, _literal(item))
    if kinds == {int}:
        return _number(int, item)
    return item


def _unknown(cfg: CfgNode, key: str) -> InputError:
    keys = list(_keys(cfg))
    same_name = [one for one in keys if one.rpartition(".")[2] == key.rpartition(".")[2]]
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.75) or same_name[:1]
    near = near or difflib.get_close_matches(key, keys, n=1)
    advice = f"; the nearest is {near[0]}" if near else ""
    return InputError(f"there is no option {key}{advice}")


def _keys(cfg: CfgNode, prefix: str = "") -> Iterator[str]:
    for name, value in cfg.items():
        if isinstance(value, CfgNode):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
