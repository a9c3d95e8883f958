"""Prompted CLIP: a frozen CLIP whose encoders take learned vectors. Knows torch and clip only."""

import contextlib
import importlib.util
import sys
import warnings
from pathlib import Path

# Two modules ship with our engine. Beside another Dassl they come from the checkout, whose `dassl`
# must not hide the installed one: so at the end of the path.
_ENGINE = Path(__file__).parents[1] / "engine"
if importlib.util.find_spec("inert_reader") is None and (_ENGINE / "inert_reader.py").is_file():
    sys.path.append(str(_ENGINE))

# Mends a CUDA build of torchvision beside a CPU build of torch, which cannot be imported as it is;
# wherever it is missing, torchvision is expected to load by itself. `clip` imports torchvision, so
# this comes first.
with contextlib.suppress(ModuleNotFoundError):
    import torchvision_cpu  # noqa: F401

with warnings.catch_warnings():
    # clip still asks for pkg_resources, about whose deprecation its users can do nothing
    warnings.simplefilter("ignore", UserWarning)
    import clip  # noqa: F401
