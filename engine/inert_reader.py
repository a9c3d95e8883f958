"""Reads what ``torch.save`` wrote without executing anything in it. Depends on torch only.

``torch.load(weights_only=True)`` builds tensors and plain containers. Published checkpoints also hold
pickled optimizers and schedulers; here they become placeholders that keep what they were given and do
nothing. Three things that ``torch.load`` lets pass are refused first: TorchScript archives and tar
files, whose code older versions run, and zip archives whose checksums are wrong.
"""

from __future__ import annotations

import io
import pickletools
import re
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, serialization

_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, pickled


class RefusedFile(ValueError):
    """A file that is missing, damaged, or could only be read by executing something in it.

    ``wanted`` is the class or function that the file asks for, if that is why.
    """

    wanted: str | None = None


class Inert:
    """Stands in for a pickled object; ``state`` is what it was to be filled with."""

    state: Any = None

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Value:
    """A call that marks a value's type: the value."""

    def __new__(cls, value: Any, *args: object) -> Any:
        return value


class _Dict:
    def __new__(cls, *args: object) -> dict:
        return {}


class _NumberType(Inert):
    """numpy.dtype of a number."""

    formats = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "b1": "?"}

    def __init__(self, code: str, *args: object) -> None:
        self.format = self.formats[code]

    def unpack(self, data: bytes) -> float | int | bool:
        order = ">" if self.state and self.state[1] == ">" else "<"
        return struct.unpack(order + self.format, data)[0]


class _Number:
    """A number of numpy: a plain one."""

    def __new__(cls, kind: _NumberType, data: bytes) -> float | int | bool:
        return kind.unpack(data)


class _Bytes:
    """bytes, as protocol 2 writes them."""

    def __new__(cls, text: str, encoding: str) -> bytes:
        return text.encode("latin1")


_STAND_INS = {
    "builtins.dict": _Dict,
    "builtins.list": _Dict,  # only ever named as a defaultdict's factory
    "collections.defaultdict": _Dict,
    "numpy.dtype": _NumberType,
    "numpy.core.multiarray.scalar": _Number,
    "numpy._core.multiarray.scalar": _Number,
    "_codecs.encode": _Bytes,
    **{
        f"torch.jit._pickle.{name}": _Value
        for name in ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
    },
    "torch.jit._pickle.restore_type_tag": _Value,
}
_INERT = re.compile(
    r"((torch|dassl)\.optim|__torch__)\.[\w.<>]+"
)  # the last: TorchScript's modules
# what torch decides about by itself
_TORCH = re.compile(
    r"torch\.((_utils|_tensor|storage|serialization|nn\.parameter)\.)?\w+"
    r"|collections\.(OrderedDict|Counter)|builtins\.(set|bytearray|complex)"
)


def load(path: str | PathLike[str]) -> Any:
    """Read a file of torch onto the CPU; optimizers, schedulers and the like come as `Inert`.

    Raises:
        RefusedFile: there is no such file, it is damaged or not torch's, is a TorchScript archive, or
            asks for anything but tensors, plain containers, numbers, optimizers and schedulers.
    """
    with _open(Path(path)) as file:
        if not _is_zip(file):
            return _load(path, file, _globals_of_legacy(path, file))
        if _is_torchscript(path, file):
            raise RefusedFile(
                f"{path} is a TorchScript archive, which holds code of its own. Nothing was executed; "
                "save the model's state_dict() with torch.save instead"
            )
        return _load(path, file, _globals(path, _verified_pickle(path, file)))


def load_torchscript(path: str | PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a TorchScript archive by dotted name; its code is not even opened.

    Beside parameters and buffers (``state_dict()``) these are attributes that are tensors.

    Raises:
        RefusedFile: as for `load`.
    """
    plain = io.BytesIO()
    with _open(Path(path)) as file:
        try:
            with zipfile.ZipFile(file) as archive, zipfile.ZipFile(plain, "w") as copy:
                for name in archive.namelist():
                    folder, _, member = name.partition("/")
                    if member in ("data.pkl", "version", "byteorder") or member.startswith("data/"):
                        copy.writestr(f"{folder}/{member}", archive.read(name))
        except Exception as error:
            raise _damaged(path, error) from error
    root = _load(path, plain, _globals(path, _verified_pickle(path, plain)))
    try:
        return dict(_tensors(root, set()))
    except RecursionError as error:
        raise _damaged(path, "modules in modules without end") from error


def _tensors(module: Any, seen: set[int], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    seen.add(id(module))
    state = getattr(module, "state", None)
    for name, value in state.items() if isinstance(state, dict) else ():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, Inert) and id(value) not in seen:
            yield from _tensors(value, seen, f"{prefix}{name}.")


def is_torchscript(path: str | PathLike[str]) -> bool:
    """Whether ``torch.load`` would hand this file to TorchScript, or it holds TorchScript's code."""
    with _open(Path(path)) as file:
        return _is_zip(file) and _is_torchscript(path, file)


def is_legacy(path: str | PathLike[str]) -> bool:
    """Whether a file is of the form that torch wrote before 1.6, in which nothing has a checksum."""
    with _open(Path(path)) as file:
        return not _is_zip(file)


def _open(path: Path) -> IO[bytes]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would hang
            raise RefusedFile(f"{path} is not a file")
        return path.open("rb")
    except OSError as error:
        raise RefusedFile(f"{path} cannot be opened: {error.strerror}") from error


def _damaged(path: str | PathLike[str], why: str | Exception) -> RefusedFile:
    reason = (str(why) or repr(why)).splitlines()[0]
    return RefusedFile(
        f"{path} cannot be read ({reason}): it is damaged or truncated, or not written by torch.save. "
        "Copy it again"
    )


def _unsafe(path: str | PathLike[str], name: str) -> RefusedFile:
    error = RefusedFile(
        f"{path} asks for {name}, which a file of tensors has no use for. Nothing was executed; do not "
        "load it from a source you do not trust"
    )
    error.wanted = name
    return error


def _is_zip(file: IO[bytes]) -> bool:
    file.seek(0)
    return file.read(4) == _ZIP


def _is_torchscript(path: str | PathLike[str], file: IO[bytes]) -> bool:
    file.seek(0)
    try:  # torch's own reader: another might see other members
        names = torch._C.PyTorchFileReader(file).get_all_records()
    except Exception as error:
        raise _damaged(path, error) from error
    return any(name == "constants.pkl" or name.startswith("code/") for name in names)


def _verified_pickle(path: str | PathLike[str], file: IO[bytes]) -> bytes:
    """The archive's pickle, after a comparison of all members with their checksums."""
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            if wrong := archive.testzip():
                raise _damaged(path, f"the checksum of {wrong} is wrong")
            (name,) = (n for n in archive.namelist() if n.partition("/")[2] == "data.pkl")
            return archive.read(name)
    except RefusedFile:
        raise
    except Exception as error:
        raise _damaged(path, error) from error


def _globals(path: str | PathLike[str], pickled: bytes | IO[bytes]) -> set[str]:
    """The names of all classes and functions that a pickle asks for, as ``module.name``.

    Protocol 2 writes Python 2's names; torch translates them like this.
    """
    try:
        return {
            argument.replace(" ", ".").replace("__builtin__.", "builtins.", 1)
            for opcode, argument, _ in pickletools.genops(pickled)
            if opcode.name == "GLOBAL"
        }
    except Exception as error:
        raise _damaged(path, error) from error


def _globals_of_legacy(path: str | PathLike[str], file: IO[bytes]) -> set[str]:
    file.seek(0)
    legacy = file.read(len(_LEGACY)) == _LEGACY
    file.seek(0)
    if not legacy or tarfile.is_tarfile(file):
        raise _damaged(path, "it is neither a zip archive nor a legacy file of torch")
    file.seek(0)
    # magic number, version, machine, the object, names of storages
    return set().union(*(_globals(path, file) for _ in range(5)))


def _stand_ins(path: str | PathLike[str], names: Iterable[str]) -> list[type]:
    classes = []
    for name in names:
        base = Inert if _INERT.fullmatch(name) else _STAND_INS.get(name)
        if base is not None:
            module, _, qualified = name.rpartition(".")
            classes.append(type(qualified, (base,), {"__module__": module}))
        elif not _TORCH.fullmatch(name):
            raise _unsafe(path, name)
    return classes


def _load(path: str | PathLike[str], file: IO[bytes], names: set[str]) -> Any:
    classes = _stand_ins(path, sorted(names))
    file.seek(0)
    trusted = serialization.get_safe_globals()
    serialization.clear_safe_globals()
    serialization.add_safe_globals(classes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about pickle protocols, which its users did not choose
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        if refused := re.search(r"GLOBAL (\S+)", str(error)):
            raise _unsafe(path, refused[1]) from error
        raise _damaged(path, error) from error
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(trusted)
