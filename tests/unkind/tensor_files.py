"""Files of tensors: prompt checkpoints, resume states, backbones."""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import clip.model
import dassl.utils
import numpy as np
import safetensors.torch
import torch
from dassl.engine import build_trainer

import train
from prompting.backbone import load_clip
from tests import tiny_clip

from . import malice
from .faults import Faults
from .mutations import of_bytes, of_tree
from .readers import Impossible, Reader, in_a_fork
from .world import EPOCHS, Forked, World

METHOD = "PromptSRC"


def build(world: World, output: Path) -> Any:
    """The trainer of METHOD, as train.py builds it."""
    arguments = world.arguments(METHOD, output)
    return build_trainer(train.configure(train.parse_arguments(arguments)))


def change_content(random: Random, content: Any) -> tuple[Any, str]:
    """A copy of what a file of tensors holds with one thing that must not be accepted, and its name.

    None of the changes is a matter of bytes: the file is whole.
    """
    tensors = [path for path, value in _leaves(content) if _is_float(value)]
    how = random.choice(("nan", "infinite", "shape", "broadcast", "lost", "tree", "type"))
    if how == "tree":
        return of_tree(random, content), "a value was changed"
    path = random.choice(tensors)
    value = _get(content, path).clone()
    if how in ("nan", "infinite"):
        value.view(-1)[random.randrange(value.numel())] = math.nan if how == "nan" else -math.inf
    elif how == "shape":
        value = torch.cat([value.view(-1), value.view(-1)[:1]])
    elif how == "broadcast":
        value = value.view(-1)[0].clone()
    elif how == "type":
        value = value.view(-1).tolist()
    return _replaced(content, path, None if how == "lost" else value), f"{path}: {how}"


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel() > 1


def _leaves(tree: Any, path: tuple = ()) -> Any:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(tree, (list, tuple)):
        for key, value in enumerate(tree):
            yield from _leaves(value, (*path, key))
    else:
        yield path, tree


def _get(tree: Any, path: tuple) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _replaced(tree: Any, path: tuple, value: Any) -> Any:
    if not path:
        return value
    changed = dict(tree) if isinstance(tree, dict) else list(tree)
    key, rest = path[0], path[1:]
    if value is None and not rest:
        del changed[key]
    else:
        changed[key] = _replaced(changed[key], rest, value)
    return changed


@dataclass
class _TensorFile(Reader):
    """Half of the trials change bytes, the others what a whole file holds."""

    def damage(self, random: Random, folder: Path) -> Path:
        self.must_refuse = "its bytes are not what was written"
        path = self.place(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        if random.random() < 0.5:
            path.write_bytes(of_bytes(random, self.content))
        else:
            changed, self.must_refuse = change_content(random, self.loaded)
            self.write(changed, path)
        return path

    def write(self, content: Any, path: Path) -> None:
        """Save a changed content in the file's format."""
        torch.save(content, path)

    def place(self, folder: Path) -> Path:
        """Where the reader looks for the file."""
        raise NotImplementedError

    def check_content(self, path: Path) -> Any:
        """The content of a file that is whole; raises Impossible where it must be refused."""
        if not self.must_refuse.endswith("was changed"):
            raise Impossible(self.must_refuse)
        return torch.load(path, weights_only=True)


@dataclass
class Checkpoint(_TensorFile):
    """model.pth.tar-N through the trainer's load_model, and the file that names the newest."""

    name: str = "checkpoint"
    isolated: bool = True

    def prepare(self, world: World, folder: Path) -> None:
        run = world.unbroken(METHOD)
        (path,) = run.glob(f"*/model.pth.tar-{EPOCHS}")
        self.relative, self.content = path.relative_to(run), path.read_bytes()
        self.loaded = torch.load(path, weights_only=True)
        self.trainer = build(world, folder / "output")
        self.whole = {"learned": self.loaded["state_dict"], "epochs": EPOCHS}

    def place(self, folder: Path) -> Path:
        return folder / self.relative

    def damage(self, random: Random, folder: Path) -> Path:
        self.by_pointer = random.random() < 0.1
        if not self.by_pointer:
            return super().damage(random, folder)
        path = self.place(folder)
        path.parent.mkdir(parents=True)
        path.write_bytes(self.content)
        self.must_refuse = "the file does not name the newest"
        other = folder / "other" / path.name
        other.parent.mkdir()
        content = dict(
            self.loaded, state_dict={k: v + 1 for k, v in self.loaded["state_dict"].items()}
        )
        torch.save(content, other)
        pointers = (
            b"",
            b"../other/" + path.name.encode(),
            str(other).encode(),
            b"\xff\xfe",
            b".",
            b"\0",
        )
        pointer = random.choice((*pointers, of_bytes(random, path.name.encode() + b"\n")))
        path.with_name("checkpoint").write_bytes(pointer)
        return path.with_name("checkpoint")

    def read(self, path: Path) -> Any:
        self.trainer.load_model(str(path.parent.parent), epoch=None if self.by_pointer else EPOCHS)
        return {"learned": self.trainer.learned.copy(), "epochs": self.trainer.epoch + 1}

    def is_named(self, message: str, path: Path) -> bool:
        return str(path.parent) in message

    def expected(self, path: Path, value: Any) -> Any:
        content = self.check_content(path)
        header = content.get("header", self.loaded["header"])
        for key in self.trainer.identity:
            if header[key] != self.loaded["header"][key]:
                raise Impossible(f"{key} is another")
        epoch = content.get("epoch", 0)
        if type(epoch) is not int or epoch < 0:
            raise Impossible("the epoch is none")
        state = {name: content["state_dict"][name].float() for name in self.whole["learned"]}
        for name, tensor in state.items():
            if tensor.shape != self.whole["learned"][name].shape or not tensor.isfinite().all():
                raise Impossible(f"{name} does not fit")
        return {"learned": state, "epochs": epoch}


@dataclass
class Resume(_TensorFile):
    """resume.pth through the trainer's resume_model_if_exist."""

    name: str = "resume"
    isolated: bool = True

    def prepare(self, world: World, folder: Path) -> None:
        self.content, relative = _state_of_a_killed_run(world, folder)
        self.relative = relative
        self.trainer = build(world, folder / "output")
        path = self.place(folder / "intact")
        path.parent.mkdir(parents=True)
        path.write_bytes(self.content)
        self.loaded = torch.load(path, weights_only=True)
        self.whole = in_a_fork(lambda: self.read(path))

    def place(self, folder: Path) -> Path:
        return folder / self.relative

    def read(self, path: Path) -> Any:
        epochs = self.trainer.resume_model_if_exist(str(path.parent.parent))
        return {"epochs": epochs, "state": self.trainer.resume_state()}

    def expected(self, path: Path, value: Any) -> Any:
        content = self.check_content(path)
        if type(content["epoch"]) is not int or not 0 < content["epoch"] < EPOCHS:
            raise Impossible("the epoch is none of this run")
        return value


def _state_of_a_killed_run(world: World, folder: Path) -> tuple[bytes, Path]:
    """resume.pth of a run that is killed as it begins its last epoch, and its place in the output."""
    output = folder / "killed"
    last = world.last_operation(METHOD, "replace", "resume.pth")
    faults = Faults(output, last, "killed after")
    Forked(world.arguments(METHOD, output), folder / "console", faults.install).wait()
    (path,) = output.glob("*/resume.pth")
    return path.read_bytes(), path.relative_to(output)


# the smallest CLIP that clip's own code builds: attention heads are 64 wide
SMALLEST = {
    **tiny_clip.SIZES["VIT"],
    **{"embed_dim": 16, "vision_layers": 1, "vision_width": 64},
    **{"transformer_width": 64, "transformer_heads": 1, "transformer_layers": 1},
}


@dataclass
class Backbone(_TensorFile):
    """A backbone's file through load_clip: a state dict, TorchScript or safetensors."""

    name: str = "backbone"
    FORMATS = {"zip": ".pt", "legacy": ".pt", "TorchScript": ".pt", "safetensors": ".safetensors"}

    def prepare(self, world: World, folder: Path) -> None:
        model = clip.model.CLIP(**SMALLEST).eval()
        model.load_state_dict({name: v.half().float() for name, v in model.state_dict().items()})
        self.loaded = {name: value.half() for name, value in model.state_dict().items()}
        self.contents = {
            "zip": _saved(self.loaded),
            "legacy": _saved(self.loaded, _use_new_zipfile_serialization=False),
            "TorchScript": _traced(model),
            "safetensors": safetensors.torch.save(self.loaded),
        }
        path = folder / "intact.pt"
        path.write_bytes(self.contents["zip"])
        self.whole = load_clip(str(path)).state_dict()

    def place(self, folder: Path) -> Path:
        return folder / f"backbone{self.FORMATS[self.format]}"

    def damage(self, random: Random, folder: Path) -> Path:
        self.format = random.choice(list(self.FORMATS))
        self.content = self.contents[self.format]
        return super().damage(random, folder)

    def write(self, content: Any, path: Path) -> None:
        if self.format == "safetensors" and isinstance(content, dict):
            tensors = {k: v for k, v in content.items() if isinstance(v, torch.Tensor)}
            path.write_bytes(safetensors.torch.save(tensors))
        else:
            super().write(content, path)

    def read(self, path: Path) -> Any:
        return load_clip(str(path)).state_dict()

    def expected(self, path: Path, value: Any) -> Any:
        if any(not tensor.isfinite().all() for tensor in value.values()):
            raise Impossible("not all of it is finite")
        if {k: v.shape for k, v in value.items()} != {k: v.shape for k, v in self.whole.items()}:
            raise Impossible("shapes or names are not the model's")
        if self.format == "legacy":  # which has no checksums
            return value
        if self.format == "safetensors":
            said = sorted(tensor.tobytes() for tensor in _read_safetensors(path.read_bytes()))
            if said == sorted(tensor.numpy().tobytes() for tensor in value.values()):
                return value
            raise Impossible("the file says other values")
        said = self.check_content(path)  # two tensors of one shape in each other's place
        if sorted(_bytes(tensor) for tensor in said.values()) != sorted(
            map(_bytes, value.values())
        ):
            raise Impossible("the file says other values")
        return value


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.float().numpy().tobytes()


def _saved(content: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **how)
    return file.getvalue()


def _traced(model: torch.nn.Module) -> bytes:
    file = io.BytesIO()
    inputs = torch.zeros(1, 3, 32, 32), torch.zeros(1, 77, dtype=torch.long)
    torch.jit.save(torch.jit.trace(model, inputs), file)
    return file.getvalue()


def _read_safetensors(content: bytes) -> Iterator[np.ndarray]:
    """The tensors of a file, in fp32, by the description of the format."""
    (size,) = struct.unpack("<Q", content[:8])
    data = content[8 + size :]
    for name, entry in json.loads(content[8 : 8 + size]).items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            yield np.frombuffer(
                data[start:end], {"F16": "<f2", "F32": "<f4"}[entry["dtype"]]
            ).astype("<f4")


@dataclass
class Pickles(Reader):
    """Malicious pickles and TorchScript archives given to everything that reads files of tensors."""

    name: str = "pickles"
    isolated: bool = True

    def prepare(self, world: World, folder: Path) -> None:
        self.readers = [Checkpoint(), Resume(), Backbone(), _Toolbox()]
        for reader in self.readers:
            (folder / reader.name).mkdir()
            reader.prepare(world, folder / reader.name)

    def damage(self, random: Random, folder: Path) -> Path:
        malice.write_helpers(self.marker)
        self.reader = random.choice(self.readers)
        self.reader.format, self.reader.by_pointer = "zip", False
        path = self.reader.place(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        content, self.what = malice.malicious(random, self.reader.loaded, self.marker)
        path.write_bytes(content)
        return path

    def read(self, path: Path) -> Any:
        return self.reader.read(path)

    def is_named(self, message: str, path: Path) -> bool:
        return self.reader.is_named(message, path)

    def intact(self, path: Path) -> Any:
        return self.reader.whole

    def expected(self, path: Path, value: Any) -> Any:
        raise Impossible(f"it holds {self.what}")


@dataclass
class _Toolbox(Reader):
    """The toolbox's own load_checkpoint, which trainers of others call."""

    name: str = "toolbox"

    def prepare(self, world: World, folder: Path) -> None:
        self.loaded = {
            "state_dict": {"weight": torch.ones(3)},
            "epoch": 1,
            "optimizer": {"lr": 1.0},
        }
        self.whole = self.loaded

    def place(self, folder: Path) -> Path:
        return folder / "model.pth.tar-1"

    def read(self, path: Path) -> Any:
        return dassl.utils.load_checkpoint(str(path))
