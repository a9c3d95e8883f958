"""The reference figures of the published code (tests/fixtures/golden) through the trainers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import check_golden

GOLDEN = Path(__file__).parent / "fixtures" / "golden"
README = Path(__file__).parents[1] / "README.md"


def test_all_recorded_runs_are_reproduced(capsys: pytest.CaptureFixture) -> None:
    """By the command of the README."""
    (folder,) = re.findall(r"`python -m tests\.check_golden (\S+)`", README.read_text())
    assert Path(folder).samefile(GOLDEN)
    assert check_golden.main([folder]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list(GOLDEN.glob("*.npz"))) == 21
    assert all(line.endswith("  ok") for line in lines)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("loss", "loss"),
        ("lr", "lr"),
        ("grad/prompt_learner.ctx", "grad"),
        ("final/image_encoder.VPT", "final"),
        ("test_logits_new", "logits"),
        ("parts_ce_l1text_l1image_klsum", "parts"),
    ],
)
def test_a_figure_that_is_off_is_found(key: str, kind: str, tmp_path: Path, capsys) -> None:
    record = dict(np.load(GOLDEN / "promptsrc.npz"))
    record[key] = record[key] * (1 + 3 * check_golden.BOUNDS[kind])
    np.savez(tmp_path / "promptsrc.npz", **record)
    assert check_golden.main([str(tmp_path)]) == 1
    assert f"FAILED: {kind}" in capsys.readouterr().out


def test_other_methods_are_passed_over_by_name(tmp_path: Path, capsys) -> None:
    shutil.copy(GOLDEN / "ivlp.npz", tmp_path)
    record = dict(np.load(tmp_path / "ivlp.npz"))
    record["meta"] = np.array(str(record["meta"]).replace('"IVLP"', '"Another"'))
    np.savez(tmp_path / "ivlp.npz", **record)
    assert check_golden.main([str(tmp_path)]) == 0
    assert "Another is not a trainer of this project" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="here CUDA is there")
def test_cuda_is_not_replaced_by_the_cpu(capsys) -> None:
    with pytest.raises(SystemExit):
        check_golden.main([str(GOLDEN), "--device", "cuda"])
    assert "sees no CUDA device" in capsys.readouterr().err


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    assert check_golden.main([str(tmp_path)]) == 2
