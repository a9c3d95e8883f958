"""The papers' figures beside ours, and what of our runs differs from the setting of those."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import PurePath
from typing import Any

from ..published import methods, settings
from ..published.figures import Published, published
from .results import Result
from .statistic import AVERAGE, Statistic

COMPARED = ("TRAINER.", "OPTIM.", "DATALOADER.TRAIN_X.", "TEST.FINAL_MODEL")
"""How keys begin in which a run may differ from its method's published setting."""
_APART = (".PREC", ".MAX_EPOCH")


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
            (own, paper.epochs or _options(protocol, r).get("OPTIM.MAX_EPOCH"))
            for r, own in told
            if own
        }
        for own, usual in sorted((a, int(b)) for a, b in epochs if b and a != int(b)):
            yield f"{own} epochs (published: {usual})"
        yield from sorted(
            {each for r in results if r.content for each in _other_options(protocol, r)}
        )
    own_shots = {result.value("DATASET.NUM_SHOTS") for result in results} | {figure.shots}
    for count in sorted(count for count in own_shots - {shots} if count and count > 0):
        yield f"{count} shots (published: {shots})"
    if figure.values and set(figure.values) != set(settings.SEEDS):
        own_seeds, usual_seeds = (
            ", ".join(map(str, seeds)) for seeds in (sorted(figure.values), settings.SEEDS)
        )
        yield f"seeds {own_seeds} (published: {usual_seeds})"


def _other_options(protocol: str, result: Result) -> Iterator[str]:
    """What a method learns with that is not as the papers fix it; epochs and precision apart."""
    for key, usual in _options(protocol, result).items():
        own = result.value(key)
        counts = key.startswith(COMPARED) and not key.endswith(_APART)
        if counts and own is not None and _value(own) != _value(usual):
            yield f"{key} {own} (published: {usual})"


def _value(written: Any) -> Any:
    """A value of a configuration, however it is written: lists are tuples, whole numbers floats."""
    if isinstance(written, str):
        try:
            return _value(ast.literal_eval(written))
        except (ValueError, SyntaxError):
            return written
    if isinstance(written, (list, tuple)):
        return tuple(map(_value, written))
    return float(written) if isinstance(written, int) else written


def _options(protocol: str, result: Result) -> dict[str, Any]:
    """The values of a method's published setting, by configuration key."""
    trained_on = result.dataset
    if protocol in settings.TRANSFERS:
        source = settings.source_of(result.config)
        setting = methods.find(result.method).setting(protocol, source, config=result.config)
        trained_on = source if setting.trained_on == "source" else trained_on
    return _fixed(protocol, result.method, trained_on, result.shots, result.config, result.row)


@cache
def _fixed(
    protocol: str, name: str, dataset: str, shots: int, config: str, row: str
) -> dict[str, Any]:
    method = methods.find(name)
    setting = method.setting(protocol, dataset, shots or settings.SHOTS, config)
    of_row = methods.ablation_rows()[row].options if row else {}
    usual = {"TEST.FINAL_MODEL": "last_step"} | method.values(config)
    return usual | dict(setting.options) | dict(of_row)
