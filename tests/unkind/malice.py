"""Files that execute something where they are read carelessly: each makes an empty marker file.

A payload is a pickle that calls functions by name; a container is a form of file that torch reads.
"""

from __future__ import annotations

import io
import pickle
import shutil
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import torch


@dataclass(frozen=True)
class Global:
    """Pickled, it asks for what a module holds under a name, which may have dots."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """Pickled, it asks for a call."""

    function: Any
    arguments: tuple


class _Pickler(pickle._Pickler):
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Global):
            if "." not in obj.name:
                self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
                return
            self.write(pickle.PROTO + b"\4")  # from here on a name may have dots
            for text in (obj.module, obj.name):
                self.write(pickle.BINUNICODE + struct.pack("<I", len(text)) + text.encode())
            self.write(pickle.STACK_GLOBAL)
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


_PICKLE = SimpleNamespace(
    __name__="pickle",
    Pickler=_Pickler,
    dump=lambda obj, file, protocol: _Pickler(file, protocol).dump(obj),
)


def payloads(marker: Path) -> dict[str, Call]:
    """By a name: what unpickles to a call that makes the marker; its folder holds `write_helpers`."""
    shell, python = f"touch {marker}", f"open({str(marker)!r}, 'w').close()"
    folder, path = marker.parent, str(marker)

    def call(function: str, *arguments: Any) -> Call:
        module, _, name = function.partition(":")
        return Call(Global(module, name), arguments)

    calls = {
        "os:system": (shell,),
        "posix:system": (shell,),
        "os:popen": (shell,),
        "os:mkdir": (path,),
        "os:makedirs": (path,),
        "os:mkfifo": (path,),
        "os:symlink": ("/", path),
        "subprocess:call": (["touch", path],),
        "subprocess:run": (["touch", path],),
        "subprocess:check_output": (["touch", path],),
        "subprocess:getoutput": (shell,),
        "builtins:eval": (python,),
        "builtins:exec": (python,),
        "__builtin__:eval": (python,),
        "builtins:open": (path, "w"),
        "io:open": (path, "w"),
        "_io:FileIO": (path, "w"),
        "codecs:open": (path, "w"),
        "gzip:open": (path, "w"),
        "zipfile:ZipFile": (path, "w"),
        "logging:FileHandler": (path,),
        "sqlite3:connect": (path,),
        "shutil:copy": (str(folder / "script.py"), path),
        "shutil:move": (str(folder / "moved"), path),
        "timeit:timeit": ("pass", python, time.perf_counter, 1),
        "cProfile:run": (python,),
        "trace:Trace.run": (Call(Global("trace", "Trace"), ()), python),
        "runpy:run_path": (str(folder / "script.py"),),
        "numpy:save": (path + ".npy", 1),
        "numpy:savetxt": (path, [1]),
        "numpy:load": (str(folder / "pickle.npy"), None, True),
        "numpy:memmap": (path, "uint8", "w+", 0, 4),
        "torch:save": (1, path),
        "torch:from_file": (path, True, 4),
        "torch:UntypedStorage.from_file": (path, True, 4),
        "torch.storage:UntypedStorage.from_file": (path, True, 4),
        "torch:FloatStorage.from_file": (path, True, 4),
        "torch.jit:load": (str(folder / "script.pt"),),
        "torch.hub:_load_local": (str(folder), "executed"),
        "torch.optim.optimizer:torch.os.system": (shell,),
        "torch._utils:torch.os.system": (shell,),
        "torch.serialization:os.system": (shell,),
        "dassl.optim.optimizer:torch.os.system": (shell,),
        "dassl.utils.tools:os.system": (shell,),
        "dassl.utils:mkdir_if_missing": (path,),
        "datasets.files:write_bytes": (b"", path),
    }
    made = {name: call(name, *arguments) for name, arguments in calls.items()}
    system = Global("os", "system")
    made["functools:partial"] = Call(call("functools:partial", system, shell), ())
    made["functools:reduce"] = call("functools:reduce", Global("os", "mkdir"), [path, 0o777])
    made["builtins:map"] = call("builtins:list", call("builtins:map", system, [shell]))
    module = call("importlib:import_module", "os")
    pickles = call("importlib:import_module", "pickle")
    made["torch:load"] = call("torch:load", str(folder / "plain.pkl"), None, pickles)
    made["operator:methodcaller"] = Call(call("operator:methodcaller", "system", shell), (module,))
    made["operator:attrgetter"] = Call(
        Call(call("operator:attrgetter", "system"), (module,)), (shell,)
    )
    made["builtins:getattr"] = Call(call("builtins:getattr", module, "system"), (shell,))
    return made


def write_helpers(marker: Path) -> None:
    """The files beside a marker that some payloads read."""
    python = f"open({str(marker)!r}, 'w').close()\n"
    folder = marker.parent
    (folder / "script.py").write_text(python)
    (folder / "hubconf.py").write_text(f"{python}def executed(): pass\n")
    (folder / "moved").write_text("")
    plain = dumps(payloads(marker)["builtins:exec"])
    (folder / "plain.pkl").write_bytes(plain)
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(117) + "\n"
    (folder / "pickle.npy").write_bytes(b"\x93NUMPY\1\0v\0" + header.encode() + plain)
    (folder / "script.pt").write_bytes(torchscript(marker))


def executed(marker: Path) -> list[Path]:
    """What payloads have made; some add a suffix."""
    return list(marker.parent.glob(f"{marker.name}*"))


def clear(marker: Path) -> None:
    """Remove what payloads have made."""
    for path in executed(marker):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def dumps(content: Any) -> bytes:
    """A bare pickle."""
    file = io.BytesIO()
    _Pickler(file, 2).dump(content)
    return file.getvalue()


class _Script(torch.nn.Module):
    """As TorchScript it makes the file that `path` names when it is loaded."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.value = torch.zeros(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state
        self.value = torch.from_file(self.path, True, 4)


def torchscript(marker: Path) -> bytes:
    """A TorchScript archive."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(_Script(str(marker))), file)
    return file.getvalue()


def _zip(content: Any, marker: Path) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, pickle_module=_PICKLE)
    return file.getvalue()


def _legacy(content: Any, marker: Path) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, pickle_module=_PICKLE, _use_new_zipfile_serialization=False)
    return file.getvalue()


def _bare(content: Any, marker: Path) -> bytes:
    return dumps({"payload": content} if not isinstance(content, Mapping) else _plain(content))


def _plain(content: Mapping) -> dict:
    """Without tensors, which a bare pickle would need persistent ids for."""
    return {
        key: value for key, value in content.items() if not isinstance(value, (torch.Tensor, dict))
    }


def _tar(content: Any, marker: Path) -> bytes:
    """The form of torch 0.1: a tar file whose members are pickles."""
    file, data = io.BytesIO(), _bare(content, marker)
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def _with_code(content: Any, marker: Path) -> bytes:
    """A whole file of torch.save with the members of a TorchScript archive beside its own."""
    file = io.BytesIO(_zip(content, marker))
    with (
        zipfile.ZipFile(file, "a") as archive,
        zipfile.ZipFile(io.BytesIO(torchscript(marker))) as script,
    ):
        root = archive.namelist()[0].partition("/")[0]
        there = set(archive.namelist())
        for name in script.namelist():
            member = f"{root}/{name.partition('/')[2]}"
            if member not in there or member.endswith("data.pkl"):
                archive.writestr(member, script.read(name))
    return file.getvalue()


def _script_alone(content: Any, marker: Path) -> bytes:
    return torchscript(marker)


CONTAINERS: Mapping[str, Callable[[Any, Path], bytes]] = {
    "zip": _zip,
    "legacy": _legacy,
    "bare": _bare,
    "tar": _tar,
    "TorchScript": _script_alone,
    "zip with TorchScript": _with_code,
}


def malicious(random: Random, content: Any, marker: Path) -> tuple[bytes, str]:
    """A file that holds a payload somewhere in ``content``, and what it is."""
    container = random.choice(list(CONTAINERS))
    made = payloads(marker)
    name = random.choice(list(made))
    place = random.choice(("whole", "entry", *content) if isinstance(content, dict) else ("whole",))
    spoilt = made[name] if place == "whole" else {**content, place: made[name]}
    return CONTAINERS[container](spoilt, marker), f"{name} in {place!r} of {container}"
