"""Building the transforms that ``INPUT.TRANSFORMS`` names.

torchvision takes longer to import than all of the engine, so it is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from dassl.utils import check_availability
from yacs.config import CfgNode

__all__ = ["AVAI_CHOICES", "INTERPOLATION_MODES", "build_transform"]  # noqa: F822 (made below)

AVAI_CHOICES = [
    "random_flip",
    "random_resized_crop",
    "normalize",
    "instance_norm",
    "random_crop",
    "random_translation",
    "center_crop",
    "cutout",
    "imagenet_policy",
    "cifar10_policy",
    "svhn_policy",
    "randaugment",
    "randaugment_fixmatch",
    "randaugment2",
    "gaussian_noise",
    "colorjitter",
    "randomgrayscale",
    "gaussian_blur",
]

# Probability that randaugment2 applies each of its operations.
_RANDAUGMENT2_P = 0.6
# random_translation enlarges the image by this factor before it cuts the window out.
_TRANSLATION_SCALE = 1.125


def __getattr__(name: str) -> Any:
    if name == "INTERPOLATION_MODES":
        modes = _torchvision_transforms().InterpolationMode
        globals()[name] = {
            "bilinear": modes.BILINEAR,
            "bicubic": modes.BICUBIC,
            "nearest": modes.NEAREST,
        }
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def build_transform(
    cfg: CfgNode, is_train: bool = True, choices: Sequence[str] | None = None
) -> Callable | None:
    """The transform from a PIL image to a tensor, built from ``cfg.INPUT``.

    Args:
        cfg: the configuration.
        is_train: with augmentation; otherwise the shorter side is resized to the larger number of
            ``INPUT.SIZE`` and the centre is cut out.
        choices: names of transforms, by default ``cfg.INPUT.TRANSFORMS``.

    Returns:
        A callable giving (3, height, width) float tensors, or ``None`` with ``INPUT.NO_TRANSFORM``.

    Raises:
        InputError: a name or the interpolation is unknown.
    """
    if cfg.INPUT.NO_TRANSFORM:
        print("Note: no transform is applied!")
        return None
    choices = cfg.INPUT.TRANSFORMS if choices is None else choices
    for choice in choices:
        check_availability(choice, AVAI_CHOICES)
    steps = _train_steps(cfg.INPUT, choices) if is_train else _test_steps(cfg.INPUT, choices)
    print(f"Building transform_{'train' if is_train else 'test'}")
    transforms = []
    for description, transform in steps:
        print(f"+ {description}")
        transforms.append(transform)
    return _torchvision_transforms().Compose(transforms)


def plain_transform(cfg: CfgNode) -> Callable:
    """Resize to ``INPUT.SIZE``, to tensor, and normalise if the configuration does: for img0."""
    T = _torchvision_transforms()
    resize = T.Resize(tuple(cfg.INPUT.SIZE), interpolation=_interpolation(cfg.INPUT))
    choices = {"normalize"}.intersection(cfg.INPUT.TRANSFORMS)
    normalisation = [transform for _, transform in _normalisation(cfg.INPUT, choices)]
    return T.Compose([resize, T.ToTensor(), *normalisation])


def _torchvision_transforms():
    from torchvision import transforms

    return transforms


def _interpolation(options: CfgNode) -> Any:
    modes = __getattr__("INTERPOLATION_MODES")
    check_availability(options.INTERPOLATION, modes)
    return modes[options.INTERPOLATION]


def _normalisation(options: CfgNode, choices: Collection[str]) -> list[tuple[str, Callable]]:
    from .tensor_transforms import InstanceNormalization

    T = _torchvision_transforms()
    steps = []
    if "normalize" in choices:
        mean, std = options.PIXEL_MEAN, options.PIXEL_STD
        steps.append((f"normalization (mean={mean}, std={std})", T.Normalize(mean, std)))
    if "instance_norm" in choices:
        steps.append(("instance normalization", InstanceNormalization()))
    return steps


def _test_steps(options: CfgNode, choices: Sequence[str]) -> list[tuple[str, Callable]]:
    T = _torchvision_transforms()
    height, width = options.SIZE
    shorter = max(height, width)
    resize = T.Resize(shorter, interpolation=_interpolation(options))
    return [
        (f"resize the smaller edge to {shorter}", resize),
        (f"{height}x{width} center crop", T.CenterCrop((height, width))),
        ("to torch tensor of range [0, 1]", T.ToTensor()),
        *_normalisation(options, choices),
    ]


def _train_steps(options: CfgNode, choices: Sequence[str]) -> list[tuple[str, Callable]]:
    from .tensor_transforms import Cutout, GaussianNoise

    T = _torchvision_transforms()
    steps = [*_spatial_steps(options, choices), *_appearance_steps(options, choices)]
    steps.append(("to torch tensor of range [0, 1]", T.ToTensor()))
    if "cutout" in choices:
        holes, length = options.CUTOUT_N, options.CUTOUT_LEN
        steps.append((f"cutout (n_holes={holes}, length={length})", Cutout(holes, length)))
    normalisation = _normalisation(options, choices)
    noise = []
    if "gaussian_noise" in choices:
        mean, std = options.GN_MEAN, options.GN_STD
        noise = [(f"gaussian noise (mean={mean}, std={std})", GaussianNoise(mean, std))]
    # Noise comes after the normalisation by fixed numbers and before that by the image's own.
    fixed = int("normalize" in choices)
    return [*steps, *normalisation[:fixed], *noise, *normalisation[fixed:]]


def _spatial_steps(options: CfgNode, choices: Sequence[str]) -> list[tuple[str, Callable]]:
    """Steps that end in an image of ``INPUT.SIZE``."""
    T = _torchvision_transforms()
    height, width = size = tuple(options.SIZE)
    interpolation = _interpolation(options)
    resize = T.Resize(size, interpolation=interpolation)
    steps = []
    if not {"random_crop", "random_resized_crop", "center_crop"}.intersection(choices):
        steps.append((f"resize to {height}x{width}", resize))
    if "random_translation" in choices:
        enlarged = tuple(round(side * _TRANSLATION_SCALE) for side in size)
        enlarge = T.Resize(enlarged, interpolation=interpolation)
        move = T.RandomApply([T.Compose([enlarge, T.RandomCrop(size)])], p=0.5)
        steps.append(("random translation", T.Compose([move, resize])))
    if "random_crop" in choices:
        padding = options.CROP_PADDING
        steps.append((f"random crop (padding={padding})", T.RandomCrop(size, padding=padding)))
    if "random_resized_crop" in choices:
        scale = tuple(options.RRCROP_SCALE)
        crop = T.RandomResizedCrop(size, scale=scale, interpolation=interpolation)
        steps.append((f"random resized crop (size={size}, scale={scale})", crop))
    if "center_crop" in choices:
        shorter = T.Resize(max(size), interpolation=interpolation)
        steps.append((f"{height}x{width} center crop", T.Compose([shorter, T.CenterCrop(size)])))
    if "random_flip" in choices:
        steps.append(("random flip", T.RandomHorizontalFlip()))
    return steps


def _appearance_steps(options: CfgNode, choices: Sequence[str]) -> list[tuple[str, Callable]]:
    """Steps on a PIL image that keep its size."""
    T = _torchvision_transforms()
    steps = []
    for name in ("imagenet", "cifar10", "svhn"):
        if f"{name}_policy" in choices:
            policy = T.AutoAugmentPolicy(name)
            steps.append((f"{name} policy", T.AutoAugment(policy)))
    n, m = options.RANDAUGMENT_N, options.RANDAUGMENT_M
    if "randaugment" in choices:
        steps.append((f"randaugment (n={n}, m={m})", T.RandAugment(num_ops=n, magnitude=m)))
    if "randaugment_fixmatch" in choices:
        steps.append((f"randaugment_fixmatch (n={n})", T.Compose(_random_strength(n))))
    if "randaugment2" in choices:
        maybe = [T.RandomApply([step], p=_RANDAUGMENT2_P) for step in _random_strength(n)]
        steps.append((f"randaugment2 (n={n})", T.Compose(maybe)))
    if "colorjitter" in choices:
        jitter = T.ColorJitter(
            brightness=options.COLORJITTER_B,
            contrast=options.COLORJITTER_C,
            saturation=options.COLORJITTER_S,
            hue=options.COLORJITTER_H,
        )
        steps.append(("color jitter", jitter))
    if "randomgrayscale" in choices:
        steps.append(("random gray scale", T.RandomGrayscale(p=options.RGS_P)))
    if "gaussian_blur" in choices:
        kernel = options.GB_K
        blur = T.RandomApply([T.GaussianBlur(kernel)], p=options.GB_P)
        steps.append((f"gaussian blur (kernel={kernel})", blur))
    return steps


def _random_strength(count: int) -> list[Callable]:
    from .randaugment import RandomStrengthAugment

    return [RandomStrengthAugment() for _ in range(count)]
