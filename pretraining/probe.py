"""Is there something to be learned? `python -m pretraining.probe --root DATA` prints the answer.

For every built-in set, the accuracy of zero-shot classification on base and on new classes, and of a
linear probe (logistic regression on the frozen image features) trained on the few shots that the
methods would get. Where the probe stands above zero-shot, a method has something to gain.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset
from PIL import Image
from sklearn.linear_model import LogisticRegression
from tabulate import tabulate

from datasets.builtin import BuiltinDataset
from prompting.backbone import CLIP, load_clip
from prompting.builtin import BUILTIN
from prompting.prompted_clip import normalise, template_features
from trainers.templates import DEFAULT

from .data import normalise_pictures

STRENGTHS = np.geomspace(0.1, 1000, 9)
"""Inverse regularisation of the probe, chosen on the validation pictures of the draw."""


def load(name: str, root: str, subset: str, shots: int, seed: int) -> BuiltinDataset:
    """A built-in set as the methods get it: ``shots`` a class, the classes of ``subset`` alone."""
    cfg = get_cfg_default()
    cfg.VERBOSE, cfg.SEED = False, seed
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS = name, root, shots
    cfg.DATASET.SUBSAMPLE_CLASSES = subset
    return build_dataset(cfg)


@torch.inference_mode()
def encode_images(clip: CLIP, items: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Normalised image features (N, embed_dim) and labels (N,) of a list of Datum."""
    side = (clip.resolution, clip.resolution)
    features = []
    for start in range(0, len(items), 200):
        pictures = []
        for item in items[start : start + 200]:
            with Image.open(item.impath) as image:
                pictures.append(np.asarray(image.resize(side, Image.Resampling.BICUBIC)))
        features.append(normalise(clip.image(normalise_pictures(np.stack(pictures)))))
    return torch.cat(features).numpy(), np.array([item.label for item in items])


@torch.inference_mode()
def zero_shot(
    clip: CLIP, test: tuple[np.ndarray, np.ndarray], names: list[str], template: str
) -> float:
    """Accuracy in percent of the nearest class feature under one template."""
    classes = normalise(next(template_features(clip, [template], names))).numpy()
    features, labels = test
    return 100 * float(np.mean((features @ classes.T).argmax(1) == labels))


def linear_probe(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
) -> float:
    """Accuracy in percent of the logistic regression that does best on ``val``."""
    probes = [LogisticRegression(C=c, max_iter=2000).fit(*train) for c in STRENGTHS]
    return 100 * max(probes, key=lambda probe: probe.score(*val)).score(*test)


def measure(
    clip: CLIP, name: str, root: str, shots: int, seeds: Sequence[int], template: str
) -> list[object]:
    """One row of the table: name, classes, zero-shot base and new, probe base and new."""
    zero, probes, classes = [], [], 0
    for subset in ("base", "new"):
        dataset = load(name, root, subset, shots, seeds[0])
        test = encode_images(clip, dataset.test)
        zero.append(zero_shot(clip, test, dataset.classnames, template))
        classes += dataset.num_classes
        if not dataset.val:
            probes.append(None)
            continue
        scores = []
        for seed in seeds:
            drawn = load(name, root, subset, shots, seed)
            scores.append(
                linear_probe(
                    encode_images(clip, drawn.train_x), encode_images(clip, drawn.val), test
                )
            )
        probes.append(float(np.mean(scores)))
    return [name, classes, *zero, *probes, None if probes[0] is None else probes[0] - zero[0]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", required=True, help="data root; missing sets are drawn there")
    parser.add_argument("--backbone", default=next(iter(BUILTIN)), help="name or file of a CLIP")
    parser.add_argument("--shots", type=int, default=16, help="training pictures a class")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="draws of the shots"
    )
    parser.add_argument("--template", default=DEFAULT, help="zero-shot template")
    args = parser.parse_args()
    clip = load_clip(args.backbone)
    names = [each.__name__ for each in BuiltinDataset.__subclasses__()]
    rows = [measure(clip, name, args.root, args.shots, args.seeds, args.template) for name in names]
    headers = ["dataset", "classes", "zero-shot base", "new", "probe base", "new", "gain base"]
    print(tabulate(rows, headers, floatfmt=".1f"))


if __name__ == "__main__":
    main()
