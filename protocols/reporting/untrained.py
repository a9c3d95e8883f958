"""Runs that did not train: warnings of what a table alone does not show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ..published import methods, settings
from .results import Result, curves_of
from .statistic import labels

NO_FALL = "the loss of the last epoch is not below that of the first"
BELOW = "below zero-shot CLIP on the classes trained on"


def warnings(protocol: str, results: Sequence[Result], zero_shot: Sequence[Result]) -> list[str]:
    """A line for every series and dataset with runs that did not train, with their seeds.

    Args:
        protocol: one of settings.PROTOCOLS.
        results: of the runs to judge.
        zero_shot: results of zero-shot CLIP; those of the same configuration are compared with.
    """
    floors = {(r.variant, r.dataset, r.classes): r.accuracy for r in reversed(zero_shot)}
    names = labels(results)
    found: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for result in results:
        if methods.is_zero_shot(result.method):
            continue
        for problem in _problems(protocol, result, floors):
            shots = f", {result.shots} shots" if protocol == "few_shot" else ""
            found[names[result.series], result.dataset + shots, problem].append(result.seed)
    return [
        f"{name} on {where}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))}: {what}"
        for (name, where, what), seeds in found.items()
    ]


def _problems(protocol: str, result: Result, floors: dict[tuple, float]) -> Iterator[str]:
    curves = curves_of(result) or {"epochs": []}
    losses = [epoch["loss"] for epoch in curves["epochs"] if "loss" in epoch]
    if len(losses) > 1 and losses[-1] >= losses[0]:
        yield NO_FALL
    if _is_of_trained_classes(protocol, result):
        floor = floors.get((result.variant, result.dataset, result.classes))
        if floor is not None and result.accuracy < floor:
            yield BELOW


def _is_of_trained_classes(protocol: str, result: Result) -> bool:
    if protocol in settings.TRANSFERS:
        return result.dataset == settings.source_of(result.variant)
    return protocol == "few_shot" or result.classes == "base"
