"""The Dassl training toolbox API, implemented afresh for current PyTorch."""

# Whatever is imported after dassl, in a spawned worker too, can import torchvision.
import torchvision_cpu  # noqa: F401

__version__ = "1.0.0"
