"""The papers' figures beside ours, and what of our runs differs from the setting of those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import PurePath

from ..published import methods, settings
from ..published.figures import Published, published
from .results import Result
from .statistic import AVERAGE, Statistic


def with_published(
    protocol: str, figures: Sequence[Statistic], results: Sequence[Result]
) -> list[Statistic]:
    """The figures of a series with the papers', where those have one of the same dataset.

    Args:
        protocol: one of settings.PROTOCOLS.
        figures: of one series and number of shots, with its averages.
        results: that they were made of.
    """
    compared = []
    for figure in figures:
        if figure.dataset == AVERAGE:
            averaged = {f.dataset for f in figures if f.dataset != AVERAGE and not f.is_source}
            if averaged != _averaged_in_papers(protocol):
                compared.append(figure)
                continue
            made_of = list(results)
        else:
            made_of = [r for r in results if r.dataset == figure.dataset]
        paper, shots = _find(protocol, figure)
        differs = tuple(_differences(protocol, figure, made_of, paper, shots)) if paper else ()
        compared.append(replace(figure, published=paper, differs=differs))
    return compared


def _averaged_in_papers(protocol: str) -> set[str]:
    """The datasets that the papers average over."""
    if protocol == "domain_generalization":
        return set(settings.SHIFTED)
    return set(settings.DATASETS) - ({"imagenet"} if protocol == "cross_dataset" else set())


def _find(protocol: str, figure: Statistic) -> tuple[Published | None, int]:
    """The papers' figure and its number of shots: ours, or else, but for few-shot tables, the usual."""
    method = figure.series[0]
    reported_as = methods.find(method).reported_as or method
    name = settings.dataset_names().get(figure.dataset, figure.dataset)
    own = figure.shots or settings.SHOTS
    for shots in (own,) if protocol == "few_shot" else (own, settings.SHOTS):
        if paper := published().get((protocol, reported_as, name, shots, figure.metric)):
            return paper, shots
    return None, own


def _differences(
    protocol: str, figure: Statistic, results: Sequence[Result], paper: Published, shots: int
) -> Iterator[str]:
    """Configuration, backbone, epochs, shots and seeds, as far as they are not the published ones."""
    variant = figure.series[1]
    if variant:
        yield f"configuration {variant}"
    for path in sorted({str(result.folder) for result in results if not result.content}):
        yield f"settings not known, since {path} does not tell them"
    backbones = {result.value("MODEL.BACKBONE.NAME") for result in results} - {None}
    for name in sorted(backbones - {paper.backbone}):
        shown = PurePath(name).name if PurePath(name).is_absolute() else name
        yield f"backbone {shown} (published: {paper.backbone})"
    if methods.is_zero_shot(figure.series[0]):
        return
    if not variant:
        told = [(r, r.value("OPTIM.MAX_EPOCH")) for r in results]
        epochs = {
            (own, paper.epochs or _epochs(protocol, r.method, r.dataset, r.shots, r.config))
            for r, own in told
            if own
        }
        for own, usual in sorted((a, int(b)) for a, b in epochs if b and a != int(b)):
            yield f"{own} epochs (published: {usual})"
    own_shots = {result.value("DATASET.NUM_SHOTS") for result in results} | {figure.shots}
    for count in sorted(count for count in own_shots - {shots} if count and count > 0):
        yield f"{count} shots (published: {shots})"
    if figure.values and set(figure.values) != set(settings.SEEDS):
        own_seeds, usual_seeds = (
            ", ".join(map(str, seeds)) for seeds in (sorted(figure.values), settings.SEEDS)
        )
        yield f"seeds {own_seeds} (published: {usual_seeds})"


@cache
def _epochs(protocol: str, name: str, dataset: str, shots: int, config: str) -> int | None:
    """The epochs of a method's published setting; None where it does not say."""
    method, key = methods.find(name), "OPTIM.MAX_EPOCH"
    setting = method.setting(protocol, dataset, shots or settings.SHOTS, config)
    return setting.options.get(key) or method.value(config, *key.split("."))
