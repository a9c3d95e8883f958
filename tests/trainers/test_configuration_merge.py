"""Files and KEY VALUE pairs become options, on plain yacs as on this project's engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from yacs.config import CfgNode

from prompting.errors import InputError
from trainers.configuration_merge import merge

DEFAULTS = {
    "SEED": -1,
    "OUTPUT_DIR": "./output",
    "INPUT": {"SIZE": (224, 224), "PIXEL_MEAN": [0.485, 0.456, 0.406], "TRANSFORMS": ()},
    "OPTIM": {"LR": 3e-4, "WEIGHT_DECAY": 5e-4, "STEPSIZE": (-1,), "MAX_EPOCH": 10},
    "DATASET": {"DIR": "", "TEMPLATE": ""},
    "TEST": {"NO_TEST": False},
    "TRAINER": {"PROMPTSRC": {"GPA_MEAN": 15.0}},
}


@pytest.fixture
def cfg() -> CfgNode:
    return CfgNode(DEFAULTS)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("OPTIM.LR", "1", 1.0),
        ("OPTIM.LR", "1e-5", 1e-5),
        ("OPTIM.WEIGHT_DECAY", "0", 0.0),
        ("TRAINER.PROMPTSRC.GPA_MEAN", "25", 25.0),
        ("OPTIM.MAX_EPOCH", "5.0", 5),
        ("OPTIM.STEPSIZE", "0", (0,)),
        ("OPTIM.STEPSIZE", "(10, 20)", (10, 20)),
        ("INPUT.SIZE", "[32, 32]", (32, 32)),
        ("INPUT.PIXEL_MEAN", "[0, 0, 1]", [0.0, 0.0, 1.0]),
        ("INPUT.TRANSFORMS", "random_flip", ("random_flip",)),
        ("INPUT.TRANSFORMS", "('random_flip', 'normalize')", ("random_flip", "normalize")),
        ("DATASET.DIR", "2024", "2024"),
        ("DATASET.DIR", "007", "007"),
        ("DATASET.DIR", "2024-01-01", "2024-01-01"),
        ("OUTPUT_DIR", "1", "1"),
        ("DATASET.TEMPLATE", "{}", "{}"),
        ("DATASET.TEMPLATE", "{}, a flower", "{}, a flower"),
        ("DATASET.TEMPLATE", "yes", "yes"),
        ("TEST.NO_TEST", "True", True),
        ("TEST.NO_TEST", "true", True),
    ],
)
def test_the_default_says_how_a_value_is_read(cfg, tmp_path, key, text, value) -> None:
    def read(cfg: CfgNode):
        for part in key.split("."):
            cfg = cfg[part]
        return cfg

    merge(cfg, [key, text])
    assert read(cfg) == value
    assert type(read(cfg)) is type(value)

    from_file = CfgNode(DEFAULTS)
    *groups, name = key.split(".")
    lines = [f"{'  ' * depth}{group}:" for depth, group in enumerate(groups)]
    quoted = f'"{text}"' if "{" in text else text
    lines.append(f"{'  ' * len(groups)}{name}: {quoted}")
    path = tmp_path / "some.yml"
    path.write_text("\n".join(lines))
    merge(from_file, path)
    assert read(from_file) == value
    assert type(read(from_file)) is type(value)


def test_values_of_python_are_taken_too(cfg) -> None:
    merge(cfg, ["SEED", 3, "INPUT.TRANSFORMS", ["normalize"], "OUTPUT_DIR", 2024])
    assert (cfg.SEED, cfg.INPUT.TRANSFORMS, cfg.OUTPUT_DIR) == (3, ("normalize",), "2024")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["OPTIM.LR", "fast"], 'OPTIM.LR is "fast"; expected a number, such as 0.0003'),
        (["OPTIM.LR", "True"], "expected a number"),
        (["OPTIM.LR", "1e999"], "expected a number"),
        (["OPTIM.LR", "1e38"], "expected a number of at most 1e.30"),
        (["SEED", "1.5"], "expected a whole number"),
        (["SEED", "1e308"], "expected a whole number of at most 2147483647"),
        (["SEED", "9" * 500], "expected a whole number of at most 2147483647"),
        (["INPUT.SIZE", "(32, 10000000000)"], "a whole number of at most 2147483647"),
        (["SEED", "True"], "expected a whole number"),
        (["SEED", "None"], "expected a whole number"),
        (["TEST.NO_TEST", "maybe"], "True or False"),
        (["INPUT.SIZE", "(224, 224"], "a list in Python's notation"),
        (["INPUT.SIZE", "('a', 'b')"], "a whole number"),
        (["INPUT.TRANSFORMS", "{}"], "expected a list"),
        (["DATASET.DIR", ["a"]], "expected text"),
        (["OPTIM", "sgd"], r"OPTIM is a group of options \(LR, WEIGHT_DECAY"),
        (["OPTIM.LRR", "1"], r"no option OPTIM\.LRR; the nearest is OPTIM\.LR"),
        (["TRAINER.COOP.GPA_MEAN", "1"], r"the nearest is TRAINER\.PROMPTSRC\.GPA_MEAN"),
        (["SEED.X", "1"], r"no option SEED\.X"),
        (["OPTIM.LR"], "OPTIM.LR has no value"),
        (["OPTIM.LR=0.1"], 'write "OPTIM.LR 0.1"'),
        (["OPTIM.LR", "0.1", "--model-dir", "x"], "--model-dir .*flags come before KEY VALUE"),
        (["OPTIM.LR", "0.1", "--eval-only"], "--eval-only .*flags come before KEY VALUE"),
        (["OPTIM.LR", "--eval-only", "SEED", "1"], "--eval-only .*flags come before"),
    ],
)
def test_pairs_that_do_not_fit_are_named_and_nothing_changes(cfg, pairs, message) -> None:
    with pytest.raises(InputError, match=message):
        merge(cfg, ["DATASET.DIR", "elsewhere", *pairs])
    assert cfg == CfgNode(DEFAULTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no options"),
        (b"# nothing but a comment\n", "holds no options"),
        (b"- a\n- b\n", "holds no options"),
        (b"OPTIM:\n  LR: [1\n", "not YAML"),
        (b"OPTIM:\n\tLR: 1\n", "not YAML"),
        (b"OPTIM:\n", "OPTIM is a group of options"),
        (b"OPTIM:\n  LR:\n", 'OPTIM.LR is ""; expected a number'),
        (b"OPTIM:\n  LR: 1\nSEED: 1\nOPTIM:\n  MAX_EPOCH: 1\n", "OPTIM is there twice"),
        (b"OPTIM:\n  RL: 1\n", r"the nearest is OPTIM\.LR"),
        (b"SEED: {A: 1}\n", r"no option SEED\.A"),
        (b"SEED: !!python/object/apply:os.system ['true']\n", "not YAML"),
        ("DATASET: {DIR: übung}\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_files_that_do_not_fit_are_named_and_nothing_changes(
    cfg, tmp_path, content, message
) -> None:
    path = tmp_path / "half.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"half\.yaml: .*{message}"):
        merge(cfg, str(path))
    assert cfg == CfgNode(DEFAULTS)


def test_a_byte_order_mark_and_anchors_are_read(cfg, tmp_path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbfSEED: &n 5\nOPTIM: {MAX_EPOCH: *n}\n")
    merge(cfg, path)
    assert (cfg.SEED, cfg.OPTIM.MAX_EPOCH) == (5, 5)


def test_python_files_are_not_executed(cfg, tmp_path) -> None:
    path = tmp_path / "x.py"
    path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ncfg = {{'SEED': 1}}\n")
    with pytest.raises(InputError, match=r"x\.py.*YAML"):
        merge(cfg, path)
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_names_its_neighbours(cfg, tmp_path) -> None:
    (tmp_path / "there.yaml").write_text("SEED: 1\n")
    with pytest.raises(FileNotFoundError, match=r"gone\.yaml.*beside it are: there") as error:
        merge(cfg, Path(tmp_path, "gone.yaml"))
    assert isinstance(error.value, InputError)


def test_every_published_configuration_merges() -> None:
    import train

    root = Path(__file__).parents[2]
    every = sorted((root / "configs").rglob("*.yaml"))
    paths = [path for path in every if path.name != "published.yaml"]
    assert paths
    for path in paths:
        if path.parts[-2] == "datasets" or path.parts[-3] == "trainers":
            train.configure(train.parse_arguments(["--config-file", str(path)]))
