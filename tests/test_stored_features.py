"""The benchmark of the store measures what it says, on a CLIP that is small."""

from __future__ import annotations

from benchmarks import stored_features
from benchmarks.subject import VIT_B16

SMALL = {"image_resolution": 32, "vision_layers": 1, "transformer_layers": 1, "vision_width": 64}


def test_the_rows_of_the_table() -> None:
    step, filling, test, disk = stored_features.run(
        2, stored_features.CLASSES, {**VIT_B16, **SMALL}
    )
    assert step["what"] == "CoOp step, batch 32"
    assert float(step["times faster"].split()[0]) > 0
    assert "% time" in filling["times faster"]
    assert "50 pictures" in test["what"]
    assert 2048 < float(disk["with the store"].split()[0].replace(",", "")) < 2100
