"""Prompted CLIP: a frozen CLIP whose encoders take learned vectors. Knows torch and clip only."""

import contextlib
import warnings

# Ships with our engine and mends a CUDA build of torchvision beside a CPU build of torch, which
# cannot be imported as it is; wherever it is missing, torchvision is expected to load by itself.
# `clip` imports torchvision, so this comes first.
with contextlib.suppress(ModuleNotFoundError):
    import torchvision_cpu  # noqa: F401

with warnings.catch_warnings():
    # clip still asks for pkg_resources, about whose deprecation its users can do nothing
    warnings.simplefilter("ignore", UserWarning)
    import clip  # noqa: F401
