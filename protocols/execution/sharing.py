"""Runs of a sweep that train on the same images: one computes their frozen features for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..published.runs import Environment, Run

ON = ("STORE.TRAINING", "True")


@dataclass(frozen=True)
class Sharing:
    """Runs in the order in which they are to start, those on the same images behind each other.

    Attributes:
        runs: the same ones; those that train on images of others share their features.
        images: by run, what stands for the images that it trains on.
    """

    runs: Sequence[Run]
    images: dict[Run, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many runs share features of training images."""
        return sum(run.options[: len(ON)] == ON for run in self.runs)

    @classmethod
    def of(cls, runs: Sequence[Run], environment: Environment) -> Sharing:
        """Find out which of some runs share; each stands before those that depend on it."""
        images = {run: key for run in runs if run.trains and (key := _images(run, environment))}
        keys = list(images.values())
        shared: dict[Run, Run] = {}
        for run in runs:
            more = ON if run in images and keys.count(images[run]) > 1 else ()
            shared[run] = replace(
                run,
                # before the run's own options, which may say otherwise
                options=(*more, *run.options),
                source=shared.get(run.source, run.source),
                teacher=shared.get(run.teacher, run.teacher),
            )
        # a test stands with its training run
        group = {run: images.get(run.source or run, run.folder) for run in runs}
        first: dict[str, int] = {}
        for place, run in enumerate(runs):
            first.setdefault(group[run], place)
        ordered = sorted(runs, key=lambda run: first[group[run]])
        return cls(
            [shared[run] for run in ordered], {shared[run]: key for run, key in images.items()}
        )


def _images(run: Run, environment: Environment) -> str:
    """All that decides a run's training images and their frozen features; "" where the run cannot be
    configured, which is said when it starts."""
    import train  # brings torch, which the help texts do not need

    try:
        cfg = train.configure(train.parse_arguments(run.arguments(environment)))
    except (ValueError, OSError):
        return ""
    return str((cfg.DATASET, cfg.SEED, cfg.INPUT, cfg.MODEL.BACKBONE))
