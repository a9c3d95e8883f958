"""Tables as papers print them: blocks with a row a method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..published import methods, settings
from .statistic import AVERAGE, Statistic, labels
from .summary import order_datasets

METRICS = {"base": "base", "new": "new", "harmonic_mean": "H", "accuracy": "accuracy"}


@dataclass(frozen=True)
class Row:
    """A method's figures in a block, one a column; None where it has none.

    Attributes:
        method: its name.
        name: the same, with its variant where there are several.
        figures: of the columns.
        differences: to zero-shot CLIP, in points; None where either is missing, and in its own row.
        best: whether a figure is the highest of its column.
        transductive: the method saw images that it is tested on, so that it is in no ranking.
    """

    method: str
    name: str
    figures: tuple[Statistic | None, ...]
    differences: tuple[float | None, ...]
    best: tuple[bool, ...]
    transductive: bool

    @property
    def is_published(self) -> bool:
        """Whether the papers have any of its figures."""
        return any(figure and figure.published for figure in self.figures)


@dataclass(frozen=True)
class Block:
    """Rows of methods, those in no ranking last, under a dataset; "" where datasets are the columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def is_transductive(series: tuple[str, str]) -> bool:
    """Whether the method of a series saw images that it is tested on."""
    return methods.find(series[0]).transductive


def make_blocks(protocol: str, statistics: Sequence[Statistic]) -> list[Block]:
    """A block a dataset, with metrics or numbers of shots as columns; of transfers one, with a column a
    dataset. As in the papers, an average of several datasets is the first block, or the last column.

    Args:
        protocol: one of settings.PROTOCOLS.
        statistics: as `summarise` gives them.
    """
    datasets = order_datasets({f.dataset for f in statistics} - {AVERAGE})
    averaged = {f.dataset for f in statistics if f.dataset != AVERAGE and not f.is_source}
    average = [AVERAGE] if len(averaged) > 1 else []
    if protocol in settings.TRANSFERS:
        sources = {f.dataset for f in statistics if f.is_source}
        columns = {
            name: f"{name} (source)" if name in sources else name for name in datasets + average
        }
        return [_block("", columns, statistics, lambda figure: figure.dataset)]
    if protocol == "few_shot":
        counts = sorted({f.shots for f in statistics})
        columns, column_of = {n: f"{n} shots" for n in counts}, lambda figure: figure.shots
    else:
        metrics = dict.fromkeys(f.metric for f in statistics)
        columns, column_of = {m: METRICS[m] for m in metrics}, lambda figure: figure.metric
    return [
        _block(name, columns, [f for f in statistics if f.dataset == name], column_of, statistics)
        for name in average + datasets
    ]


def _block(
    title: str,
    columns: dict[Any, str],
    figures: Sequence[Statistic],
    column_of: Callable[[Statistic], Any],
    everything: Iterable[Statistic] = (),
) -> Block:
    """A block of figures; `everything` are those that the methods' names must tell apart."""
    zero_shot = [f for f in figures if methods.is_zero_shot(f.series[0]) and f.mean is not None]
    names = labels(everything or figures)
    cells = {(f.series, column_of(f)): f for f in figures}
    series = list(dict.fromkeys(f.series for f in figures if f.mean is not None))
    highest = {}
    for (each, column), figure in cells.items():
        if figure.mean is not None and not is_transductive(each):
            highest[column] = max(highest.get(column, 0.0), round(figure.mean, 2))
    rows = []
    for each in sorted(series, key=is_transductive):
        own = tuple(cells.get((each, column)) for column in columns)
        rows.append(
            Row(
                each[0],
                names[each],
                own,
                tuple(_difference(f, zero_shot) for f in own),
                tuple(
                    f is not None
                    and f.mean is not None
                    and not is_transductive(each)
                    and round(f.mean, 2) == highest[column]
                    for f, column in zip(own, columns, strict=True)
                ),
                is_transductive(each),
            )
        )
    return Block(title, tuple(columns.values()), tuple(rows))


def _difference(figure: Statistic | None, zero_shot: Sequence[Statistic]) -> float | None:
    """To zero-shot CLIP, of the same variant where there is one."""
    if figure is None or figure.mean is None or methods.is_zero_shot(figure.series[0]):
        return None
    where = (figure.dataset, figure.metric)
    others = {f.series[1]: f.mean for f in reversed(zero_shot) if (f.dataset, f.metric) == where}
    other = others.get(figure.series[1], next(iter(others.values()), None))
    return None if other is None else figure.mean - other
