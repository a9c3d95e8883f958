"""A run's folder: one writer at a time, one configuration, one set of pictures.

`claim` compares and locks, and writes nothing else; `begin` records what the run is of, once everything
is built. So a run that is refused leaves a folder as it was.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import filelock
import inert_reader
import yaml
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from prompting.checkpoints import BEST_FILE
from prompting.errors import InputError
from prompting.files import temporary_files, write_atomically

from . import pictures
from .named_files import changed_files, named_files
from .results import differing_keys, used_config
from .resume import RESUME_FILE

CONFIG_FILE = "config.yaml"
RUN_FILE = "run.json"
LOCK_FILE = ".train.lock"
PATIENCE = 5
"""Seconds that the remains of a killed run get to let go of its folder."""

Kind = Literal["training", "test"]
PARTS = ("train_x", "val", "test")

_ADVICE = "Choose another --output-dir, or move that folder away"
# what Dassl and earlier versions call their temporary files
_OLD_TEMPORARY = re.compile(
    r"\.((model|resume)[^/]*\.pth[^/]*|checkpoint|(results|manifest|curves)\.json|config\.yaml|cmat\.pt)"
    r"\.[a-z0-9_]{8}(\.unfinished)?"
)
# what a run has written before it begins
_BEFORE_IT_BEGINS = re.compile(rf"log\.txt.*|(few_shot|draw)_.*\.json|{re.escape(LOCK_FILE)}")


@dataclass
class _Claim:
    """A folder that this process writes into; no lock where the disk has none."""

    lock: filelock.BaseFileLock | None
    config: Mapping[str, Any]
    begun: bool = False


_held: dict[Path, _Claim] = {}


def check(cfg: CfgNode, kind: Kind | None = None, defaults: CfgNode | None = None) -> None:
    """Refuse a run that does not belong into its output folder; nothing is written.

    Args:
        cfg: the run's configuration.
        kind: what the run does; None where that is not known yet.
        defaults: as for `differing_keys`.

    Raises:
        InputError: the folder holds a run of another configuration or kind, or RESUME names a folder
            that cannot be gone on from.
    """
    folder, config = Path(cfg.OUTPUT_DIR), used_config(cfg)
    held = _held.get(folder.resolve())
    if not held or config != held.config:
        if cfg.RESUME:
            _check_source(Path(cfg.RESUME), config, defaults)
        _compare(folder, config, defaults)
    _compare_kind(folder, kind)


def claim(cfg: CfgNode, kind: Kind | None = None, defaults: CfgNode | None = None) -> None:
    """`check`, and lock the output folder for this process, in which killed runs' temporary files are
    removed. Claiming again is harmless.

    Raises:
        InputError: as for `check`, or another process is writing into the folder.
    """
    check(cfg, kind, defaults)
    folder, config = Path(cfg.OUTPUT_DIR), used_config(cfg)
    if held := _held.get(folder.resolve()):
        held.config = config
        return
    folder.mkdir(parents=True, exist_ok=True)
    _held[folder.resolve()] = _Claim(_lock(folder), config)
    for path in (*temporary_files(folder), *_old_temporary_files(folder)):
        path.unlink(missing_ok=True)


@contextmanager
def claimed(cfg: CfgNode, kind: Kind | None, defaults: CfgNode) -> Iterator[None]:
    """`claim`, and `release` at the end. A run that is refused before it began leaves no file, nor a
    folder that was made for it."""
    folder = Path(cfg.OUTPUT_DIR)
    before = set(folder.glob("*"))
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    claim(cfg, kind, defaults)
    try:
        yield
    except (ValueError, OSError):
        if not _held[folder.resolve()].begun:
            _discard(set(folder.glob("*")) - before, made)
        raise
    finally:
        release(cfg)


def begin(cfg: CfgNode, kind: Kind, dataset: Any, parts: Sequence[str] = PARTS) -> None:
    """Record a claimed run: its configuration, kind and pictures, or compare with what is recorded.

    Args:
        cfg, kind: as for `claim`.
        dataset: Dassl's dataset.
        parts: those of its parts that the run depends on.

    Raises:
        InputError: as for `claim`, or the pictures are not those that the run began with.
    """
    claim(cfg, kind)
    folder = Path(cfg.OUTPUT_DIR)
    present, files = pictures.describe(dataset, parts), named_files(used_config(cfg))
    for directory in filter(None, (cfg.RESUME, folder)):
        _compare_pictures(Path(directory), present)
        _compare_files(Path(directory), files)
    if not (folder / CONFIG_FILE).is_file():
        text = yaml.safe_dump(used_config(cfg))
        write_atomically(folder / CONFIG_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    if not (folder / RUN_FILE).is_file():
        record = json.dumps({"kind": kind, "pictures": present, "files": files}, indent=1)
        write_atomically(folder / RUN_FILE, lambda path: path.write_text(record, encoding="utf-8"))
    _held[folder.resolve()].begun = True


def changed_inputs(cfg: CfgNode, parts: Sequence[str] = PARTS) -> list[str]:
    """How the pictures and named files that this configuration has now differ from those that the run
    in its folder is of; [] where they do not, or where that run is older than their record.

    Args:
        cfg: the run's configuration.
        parts: those to compare.

    Raises:
        InputError: the dataset cannot be built.
    """
    kept = _read_record(Path(cfg.OUTPUT_DIR))
    files = changed_files(kept.get("files", {}), named_files(used_config(cfg)))
    files = [f"{each} has other content" for each in files]
    recorded = {
        part: of_part for part, of_part in kept.get("pictures", {}).items() if part in parts
    }
    if not recorded:
        return files
    present = pictures.of_configuration(cfg, tuple(recorded))
    trainer = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)
    if "train_x" in recorded and (classes := getattr(trainer, "training_classes", "")):
        trained_on = cfg.clone()
        trained_on.defrost()
        trained_on.DATASET.SUBSAMPLE_CLASSES = classes
        present = {**present, **pictures.of_configuration(trained_on, ("train_x",))}
    return [*files, *pictures.differences(recorded, present)]


def release(cfg: CfgNode) -> None:
    """Let others write into the output folder."""
    held = _held.pop(Path(cfg.OUTPUT_DIR).resolve(), None)
    if held and held.lock:
        held.lock.release()


def prompts_folder(directory: Path, name: str) -> Path:
    """The folder NAME of checkpoints in a run's folder, or that folder itself where it was given.

    Raises:
        InputError: there is none here, but further down; says where.
    """
    if directory.is_file():
        raise InputError(
            f"--model-dir {directory} is a file: give the folder of the run, and --load-epoch"
        )
    if directory.name == name and not (directory / name).is_dir():
        print(f"{directory} holds the checkpoints themselves: loading from it")
        return directory
    if not directory.is_dir():
        raise InputError(f"there is no folder {directory}: --model-dir is the folder of a run")
    if not (directory / name).is_dir():
        below = sorted(path.parent for path in directory.glob(f"**/{name}") if path.is_dir())
        if below:
            named = ", ".join(str(path) for path in below[:3])
            raise InputError(
                f"{directory} is not the folder of a run, but holds {len(below)} of them: {named}"
                f"{' ...' if len(below) > 3 else ''}. Give one of them as --model-dir"
            )
        if others := sorted({path.parent.name for path in directory.glob("*/model*.pth.tar*")}):
            raise InputError(
                f"{directory} is a run of another method: its checkpoints lie in {others[0]}/, and "
                f"those wanted here in {name}/. Give --trainer that run's method, or another folder"
            )
    return directory / name


def bring_best(source: Path, folder: Path) -> None:
    """Copy the best checkpoint on validation of a run that goes on in another folder."""
    best = source / BEST_FILE
    if best.is_file() and not (folder / BEST_FILE).is_file():
        write_atomically(folder / BEST_FILE, lambda path: shutil.copyfile(best, path))


def _check_source(source: Path, config: Mapping[str, Any], defaults: CfgNode | None) -> None:
    if not (source / CONFIG_FILE).is_file():
        state = (
            "is no folder of a run: it has no config.yaml" if source.is_dir() else "is not there"
        )
        raise InputError(
            f"--resume {source}: the folder {state}. Give the folder of the run to go on with, or "
            "leave --resume out: a killed run goes on by itself with the same --output-dir"
        )
    if differing := differing_keys(_read_config(source), config, defaults):
        raise InputError(
            f"--resume {source}: that run has another configuration: {'; '.join(differing)}. Give the "
            "settings that it was started with, or leave --resume out"
        )


def _compare(folder: Path, config: Mapping[str, Any], defaults: CfgNode | None) -> None:
    has_config = (folder / CONFIG_FILE).is_file()
    there = _read_config(folder) if has_config else _config_in_checkpoints(folder)
    if there and (differing := differing_keys(there, config, defaults)):
        raise InputError(
            f"{folder} holds a run with another configuration: {'; '.join(differing)}. {_ADVICE}"
        )


def _compare_kind(folder: Path, kind: Kind | None) -> None:
    there = _kind_of(folder)
    if kind and there and kind != there:
        advice = f" (--model-dir {folder} tests its prompts)" if kind == "test" else ""
        raise InputError(
            f"{folder} holds a {there} run, whose results a {kind} run would overwrite. "
            f"{_ADVICE}{advice}"
        )


def _compare_pictures(folder: Path, present: pictures.Pictures) -> None:
    recorded = _read_record(folder).get("pictures", {})
    if differing := pictures.differences(recorded, present):
        raise InputError(
            f"the run in {folder} is of other pictures: {'; '.join(differing)}. Put those back that it "
            "began with, or choose another --output-dir: to start anew, or with --eval-only "
            f"--model-dir {folder} to test what it has learned on these"
        )


def _compare_files(folder: Path, present: Mapping[str, str]) -> None:
    if differing := changed_files(_read_record(folder).get("files", {}), present):
        raise InputError(
            f"since the run in {folder} began, other content is in {', '.join(differing)}. Put back "
            "the files that it began with, or choose another --output-dir to start anew"
        )


def _kind_of(folder: Path) -> Kind | None:
    """What made a folder; of earlier versions' folders a test is not told from a begun training."""
    if kind := _read_record(folder).get("kind"):
        return kind
    traces = ("curves.json", "*/model*.pth.tar*", "*/resume.pth")
    return "training" if any(any(folder.glob(trace)) for trace in traces) else None


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG_FILE
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _damaged(path) from error
    if not isinstance(config, dict) or not isinstance(config.get("TRAINER"), dict):
        raise _damaged(path)
    return config


def _config_in_checkpoints(folder: Path) -> Mapping[str, Any]:
    """What the checkpoints in a folder without config.yaml were made with; {} where none of them says.
    Those that cannot be read are refused by who needs them."""
    for path in (*folder.glob(f"*/{RESUME_FILE}"), *folder.glob("*/model*.pth.tar*")):
        with suppress(inert_reader.RefusedFile):
            content = inert_reader.load(path)
            header = content.get("header", content) if isinstance(content, dict) else {}
            config = header.get("config") if isinstance(header, dict) else None
            if isinstance(config, dict) and isinstance(config.get("TRAINER"), dict):
                return config
    return {}


def _read_record(folder: Path) -> Mapping[str, Any]:
    path = folder / RUN_FILE
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        described = [about for part in record["pictures"].values() for about in part.values()]
        whole = record["kind"] in ("training", "test") and all(
            type(count) is int and isinstance(digest, str) for count, digest in described
        )
        # earlier versions have none
        whole = whole and all(isinstance(each, str) for each in record.get("files", {}).values())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path) from error
    if not whole:
        raise _damaged(path)
    return record


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path} is empty or damaged, so that nobody can say what the run in {path.parent} was made "
        f"with. {_ADVICE}"
    )


def _lock(folder: Path) -> filelock.BaseFileLock | None:
    lock = filelock.FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=PATIENCE)
    except filelock.Timeout as error:
        raise InputError(
            f"another process is writing into {folder}: wait for it or stop it, or choose another "
            "--output-dir"
        ) from error
    except NotImplementedError:
        print(f"{folder} is on a disk without locks: see that only one run writes into it")
        return None
    return lock


def _old_temporary_files(folder: Path) -> list[Path]:
    files = [*folder.glob(".*"), *folder.glob("*/.*")]
    return [path for path in files if _OLD_TEMPORARY.fullmatch(path.name)]


def _discard(files: Iterable[Path], folders: Iterable[Path]) -> None:
    """Remove what a refused run has written, as far as that can be done."""
    with suppress(OSError):
        for path in files:
            if _BEFORE_IT_BEGINS.fullmatch(path.name):
                path.unlink()
        for folder in folders:
            folder.rmdir()
