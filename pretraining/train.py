"""Pre-train the small CLIP: `python -m pretraining.train`.

Draws the pictures, trains with the contrastive loss, and writes the weights in the form that
`prompting.builtin` reads, and a log of the loss. The defaults are the recipe of the weights in the
repository and write over them and their log.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from prompting.builtin.weights import WEIGHTS, write_weights

from .data import PretrainingSet, draw_set, normalise_pictures
from .model import Dimensions, TrainableCLIP

LOGGED_EVERY = 50
WARM_UP = 0.04
LARGEST_SCALE = math.log(100)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def batches(kinds: np.ndarray, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Picture numbers of one batch after the other, without end.

    Every other batch holds pictures of one kind only: among pictures that differ in everything, what
    is easily told apart would hide what is not.
    """
    everything = np.arange(len(kinds))
    of_kind = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    queues = [_shuffled(group, size, random) for group in (everything, *of_kind)]
    shares = np.array([len(group) for group in of_kind]) / len(kinds)
    while True:
        yield next(queues[0])
        yield next(queues[1 + random.choice(len(of_kind), p=shares)])


def _shuffled(group: np.ndarray, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        order = random.permutation(group)
        for start in range(0, max(1, len(group) - size + 1), size):
            yield order[start : start + size]


def build_optimizer(model: TrainableCLIP, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW; norms, biases, embeddings and the logit scale are not decayed."""
    matrices = [p for n, p in model.named_parameters() if p.ndim > 1 and "embedding" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim <= 1 or "embedding" in n]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0}],
        betas=(0.9, 0.98),
        eps=1e-6,
    )


def train(
    data: PretrainingSet,
    sizes: Dimensions,
    *,
    steps: int,
    batch: int = 128,
    peak: float = 1e-3,
    weight_decay: float = 0.1,
    seed: int = 1,
) -> tuple[TrainableCLIP, list[tuple[int, float, float, float]]]:
    """Train for a number of steps; the log has (step, mean loss, logit scale, seconds) rows.

    Forward and loss run in bfloat16 under autocast; weights and optimizer are fp32.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    model = TrainableCLIP(len(data.vocabulary), sizes)
    optimizer = build_optimizer(model, weight_decay)
    choices, log, losses = batches(data.kinds, batch, random), [], []
    began, bar = time.monotonic(), tqdm(range(steps), "pre-training", unit="step", disable=None)
    for step in bar:
        chosen = next(choices)
        which = random.integers(data.captions.shape[1], size=len(chosen))
        images = normalise_pictures(data.pictures[chosen])
        mirrored = torch.from_numpy(random.random(len(chosen)) < 0.5)[:, None, None, None]
        images = torch.where(mirrored, images.flip(-1), images)
        ends = torch.from_numpy(data.ends[chosen, which].astype(np.int64))
        tokens = torch.from_numpy(
            data.captions[chosen, which, : int(ends.max()) + 1].astype(np.int64)
        )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(images, tokens, ends)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=LARGEST_SCALE)
        losses.append(loss.item())
        if (step + 1) % LOGGED_EVERY == 0 or step + 1 == steps:
            scale, mean = model.logit_scale.exp().item(), float(np.mean(losses))
            log.append((step + 1, mean, scale, time.monotonic() - began))
            bar.set_postfix(loss=f"{mean:.3f}", scale=f"{scale:.1f}")
            losses.clear()
    return model, log


def write_log(path: Path, rows: list[tuple[int, float, float, float]]) -> None:
    """The log as CSV."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss", "logit_scale", "seconds"])
        writer.writerows(
            (s, f"{loss:.4f}", f"{scale:.2f}", f"{t:.0f}") for s, loss, scale, t in rows
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="the weights file")
    parser.add_argument("--log", type=Path, default=Path(__file__).with_name("log.csv"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pictures", type=int, default=78_000)
    parser.add_argument("--captions", type=int, default=8, help="captions of each picture")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=128)
    # On a busy machine the threads of tensors this small spend their time waiting for each other.
    parser.add_argument("--threads", type=int, default=1, help="threads of training")
    args = parser.parse_args()
    for path in (args.output, args.log):
        path.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    sizes = Dimensions()
    data = draw_set(args.seed, args.pictures, args.captions, sizes.resolution)
    model, log = train(data, sizes, steps=args.steps, batch=args.batch, seed=args.seed)
    recipe = {key: getattr(args, key) for key in ("seed", "pictures", "captions", "steps", "batch")}
    notes = {"sizes": json.dumps(model.describe()), "recipe": json.dumps(recipe)}
    write_weights(args.output, model.openai_state(), data.vocabulary, args.seed, notes)
    write_log(args.log, log)
    print(f"{args.output}: loss {log[-1][1]:.3f}, {args.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
