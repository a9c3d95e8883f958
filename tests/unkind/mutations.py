"""Changes to files: of bytes, whatever they mean, and of what JSON and YAML hold."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

Bytes = Callable[[Random, bytes], bytes]


def flip_bit(random: Random, content: bytes) -> bytes:
    """One bit."""
    changed = bytearray(content)
    changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def flip_bits(random: Random, content: bytes) -> bytes:
    """Some bits, near each other or not."""
    changed = bytearray(content)
    start, width = random.randrange(len(changed)), random.choice((8, 200, len(changed)))
    for _ in range(random.randint(2, 20)):
        changed[(start + random.randrange(width)) % len(changed)] ^= 1 << random.randrange(8)
    return bytes(changed)


def truncate(random: Random, content: bytes) -> bytes:
    """The beginning alone; often all but a few bytes, or a few bytes, or nothing."""
    size = len(content)
    few = random.randint(1, min(size, 64))
    return content[: random.choice((0, few, size - few, random.randrange(size)))]


def append_junk(random: Random, content: bytes) -> bytes:
    """More behind the end: noise, zeros, or the file once more."""
    junk = random.randbytes(random.randint(1, 200))
    return content + random.choice((junk, bytes(len(junk)), content, b"\n"))


def prepend_junk(random: Random, content: bytes) -> bytes:
    """Something before the beginning."""
    return (
        random.choice((random.randbytes(random.randint(1, 50)), b"\n", b"\xef\xbb\xbf")) + content
    )


def zero_block(random: Random, content: bytes) -> bytes:
    """A block of zeros, as disks leave them."""
    start = random.randrange(len(content))
    size = min(random.choice((1, 16, 512, 4096)), len(content) - start)
    return content[:start] + bytes(size) + content[start + size :]


def cut_block(random: Random, content: bytes) -> bytes:
    """A block left out."""
    start = random.randrange(len(content))
    return content[:start] + content[start + random.choice((1, 2, 16, 512)) :]


def repeat_block(random: Random, content: bytes) -> bytes:
    """A block twice."""
    start = random.randrange(len(content))
    end = start + random.choice((1, 2, 16, 512))
    return content[:end] + content[start:end] + content[end:]


def swap_blocks(random: Random, content: bytes) -> bytes:
    """Two blocks in each other's place."""
    size = random.choice((1, 4, 16, 512))
    if len(content) < 4 * size:
        return content[::-1]
    one, other = sorted(random.sample(range(0, len(content) - size, size), 2))
    return (
        content[:one]
        + content[other : other + size]
        + content[one + size : other]
        + content[one : one + size]
        + content[other + size :]
    )


def noise(random: Random, content: bytes) -> bytes:
    """Nothing of the file."""
    return random.randbytes(random.choice((1, 100, len(content))))


OF_BYTES: Sequence[Bytes] = (
    *(flip_bit, flip_bit, flip_bits, truncate, truncate, append_junk, prepend_junk),
    *(zero_block, cut_block, repeat_block, swap_blocks, noise),
)


def of_bytes(random: Random, content: bytes) -> bytes:
    """One of the changes above, anywhere or near an end, where formats keep their headers."""
    change, near = random.choice(OF_BYTES), 1024
    where = random.choice(("anywhere", "first", "last"))
    if where == "anywhere" or len(content) < 2 * near:
        return change(random, content)
    if where == "first":
        return change(random, content[:near]) + content[near:]
    return content[:-near] + change(random, content[-near:])


def of_encoding(random: Random, content: bytes) -> bytes:
    """A text in another encoding or with other line ends."""
    text = content.decode()
    how = random.choice(("utf-8-sig", "utf-16", "utf-16-le", "cp1252", "crlf", "cr", "blank lines"))
    if how == "crlf":
        return text.replace("\n", "\r\n").encode()
    if how == "cr":
        return text.replace("\n", "\r").encode()
    if how == "blank lines":
        return text.replace("\n", "\n\n").encode()
    if how == "cp1252":
        letters = [index for index, letter in enumerate(text) if letter.isalpha()]
        index = random.choice(letters)
        return (text[:index] + "é" + text[index + 1 :]).encode(how)
    return text.encode(how)


SCALARS = (
    *(None, True, False, 0, -1, 1, 2, 3.7, 1e308, 10**30, float("nan"), float("inf")),
    *("", " ", "x", "0", "1.5", "../x", "/etc/hostname", "a\x00b", "é", "\ud800", "nan", "null"),
    *([], {}, [[]], {"a": {}}, [None]),
)


def places(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value in nested dicts and lists."""
    yield path
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in items:
        yield from places(value, (*path, key))


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested dicts by its dotted key."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def of_tree(random: Random, tree: Any, scalars: Sequence[Any] = SCALARS) -> Any:
    """A copy of nested dicts and lists in which one value is changed, lost, moved or doubled."""
    changed = copy.deepcopy(tree)
    # as many changes near the top as at the leaves, of which there are many more
    paths = list(places(changed))
    depth = random.choice(sorted({len(path) for path in paths}))
    path = random.choice([path for path in paths if len(path) == depth])
    if not path:
        return random.choice(scalars)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    key, how = (
        path[-1],
        random.choice(("replace", "replace", "delete", "swap", "double", "wrap", "near")),
    )
    value = parent[key]
    if how == "delete":
        del parent[key]
    elif how == "swap":
        other = random.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        parent[key], parent[other] = parent[other], value
    elif how == "double":
        if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(value))
        else:
            parent[f"{key}_"] = copy.deepcopy(value)
    elif how == "wrap":
        parent[key] = random.choice(([value], {"value": value}, str(value)))
    elif how == "near":
        parent[key] = _near(random, value)
    else:
        parent[key] = random.choice(scalars)
    return changed


def _near(random: Random, value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return random.choice((value + 1, value - 1, -value, value * 1000, float(value), value / 3))
    if isinstance(value, str) and value:
        index = random.randrange(len(value))
        return random.choice(
            (
                value.upper(),
                f"{value} ",
                value.replace("_", " "),
                value[:index],
                value + value[index],
            )
        )
    return random.choice((value, None))


def json_bytes(tree: Any) -> bytes:
    """As json writes it, NaN and lone surrogates included."""
    return json.dumps(tree).encode()
