"""Arrows point one way: which room may import which."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# the names of Dassl's API that CoOp-family code relies on, as far as this project uses them
DASSL_API = {
    "dassl.config": {"get_cfg_default"},
    "dassl.data": {"DataManager", "DatasetWrapper"},
    "dassl.data.transforms": {"build_transform"},
    "dassl.data.datasets": {"DATASET_REGISTRY", "DatasetBase", "Datum"},
    "dassl.engine": {"TRAINER_REGISTRY", "TrainerX", "build_trainer"},
    "dassl.metrics": {"compute_accuracy"},
    "dassl.optim": {"build_lr_scheduler", "build_optimizer"},
    "dassl.utils": {"read_image", "set_random_seed", "setup_logger"},
}
MAY_IMPORT = {
    "engine/dassl": set(),
    "prompting": {"prompting"},
    "datasets": {"datasets"},
    "trainers": {"trainers", "prompting"},
    "protocols": {"protocols", "trainers", "prompting", "datasets", "train"},
    "inference": {"inference", "trainers", "prompting", "datasets", "train"},
    "own_pictures": {
        "own_pictures",
        "inference",
        "protocols",
        "trainers",
        "prompting",
        "datasets",
        "train",
    },
}
OURS = {
    "prompting",
    "datasets",
    "trainers",
    "protocols",
    "inference",
    "own_pictures",
    "benchmarks",
    "pretraining",
    "train",
    "predict",
    "tests",
}


def imports(room: str) -> list[tuple[Path, str, set[str]]]:
    """Every absolute import of a room: file, module, imported names."""
    found = []
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found += [(path, alias.name, set()) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.append((path, node.module, {alias.name for alias in node.names}))
    assert found
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_what_is_below_them(room: str) -> None:
    allowed = MAY_IMPORT[room]
    for path, module, _ in imports(room):
        top = module.partition(".")[0]
        assert top not in OURS - allowed, f"{path} imports {module}"
        assert not (room == "prompting" and top in ("dassl", "yacs")), f"{path} imports {module}"


@pytest.mark.parametrize("room", ["trainers", "datasets", "inference", "own_pictures"])
def test_only_names_of_dassls_api_are_used(room: str) -> None:
    for path, module, names in imports(room):
        if module.startswith("dassl"):
            assert module in DASSL_API, f"{path} imports {module}"
            assert names <= DASSL_API[module], f"{path} imports {names} from {module}"


def test_prompting_imports_without_dassl_yacs_and_our_engine(tmp_path: Path) -> None:
    """Another Dassl that is installed is not imported, and stays the one that would be."""
    (tmp_path / "dassl.py").write_text("theirs = True")
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "prompting").rglob("*.py")
        if not path.stem.startswith("__")
    ]
    code = f"""
import sys
sys.modules["yacs"] = None
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path[:] = [p for p in sys.path if "engine" not in p] + [{str(tmp_path)!r}]
import {", ".join(modules)}
assert "dassl" not in sys.modules
import dassl
assert dassl.theirs
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True)


def test_a_method_takes_at_most_120_lines() -> None:
    """What takes more belongs into a room that other methods can share."""
    methods = [path for path in (ROOT / "trainers").glob("*.py") if "@register" in path.read_text()]
    assert len(methods) > 10
    assert {
        path.name: n for path in methods if (n := len(path.read_text().splitlines())) > 120
    } == {}
