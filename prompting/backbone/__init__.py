"""The frozen CLIP of a name: OpenAI's, open_clip's, transformers', that of a file, or a built-in one.

Whoever made it, its weights are translated to the names of OpenAI's files and run through this
project's encoders; what they do not say, such as the activation, is told by the model's own
configuration. Text encoders that are not causal up to an end of text are refused with the reason.
"""

from .description import CLIP_DEVIATION, CLIP_MEAN, ImageInput
from .loading import is_path, load_clip
from .model import CLIP

__all__ = ["CLIP", "CLIP_DEVIATION", "CLIP_MEAN", "ImageInput", "is_path", "load_clip"]
