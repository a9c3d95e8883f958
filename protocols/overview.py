"""The published figures of all methods, beside what made them and what the methods cost.

    python -m protocols.overview           # print the tables of docs/methods.md and README.md
    python -m protocols.overview --write   # put them there, between their marks

Figures are the averages on base-to-new; costs are read from docs/methods.csv, which
`python -m benchmarks.methods docs/methods.csv` makes, as far as it has them.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from tabulate import tabulate

from .published import methods
from .published.figures import MARKS, Published, published
from .published.methods import Method, Setting
from .published.settings import DATASETS, ROOT, SHOTS, UsageError
from .reporting.costs import read_benchmarks

PROTOCOL = "base2new"
METRICS = {"base": "base", "new": "new", "harmonic_mean": "H"}
BASELINE = "CoOp"
COSTS = ROOT / "docs" / "methods.csv"
CLASSES = (50, 500)
RELATIVE = {"step": "step_seconds_{}_equal_batch", "memory": "peak_memory_{}_equal_batch"}
"""Columns of the file of costs, at a batch at which methods can be compared."""

Row = dict[str, str]
Costs = Mapping[str, Mapping[str, str]]


def figures_of(reported_as: str) -> dict[str, Published]:
    """The published averages by metric; empty where there are none."""
    found = published()
    keys = {metric: (PROTOCOL, reported_as, "average", SHOTS, metric) for metric in METRICS}
    return {metric: found[key] for metric, key in keys.items() if key in found}


def _words(figures: Mapping[str, Published]) -> Row:
    return {
        name: f"{figure.value:.2f}{figure.mark}" if (figure := figures.get(metric)) else "-"
        for metric, name in METRICS.items()
    }


def _usual(method: Method) -> Setting | None:
    """The published setting of most datasets; None where there is none."""
    with suppress(UsageError):
        return method.setting(PROTOCOL, DATASETS[-1])
    return None


def _saw(method: Method) -> str:
    if method.zero_shot:
        return "no images"
    usual = _usual(method)
    labels = "no labels" if usual and not usual.shots else "labels"
    return f"{labels}; {method.saw}" if method.saw else labels


def _costs(name: str, costs: Costs) -> Row:
    own, of_baseline = costs.get(name, {}), costs.get(BASELINE, {})
    learned = own.get("learned_parameters")
    row = {"learned numbers": f"{int(learned):,}" if learned else "-"}
    for kind, column in RELATIVE.items():
        keys = [column.format(count) for count in CLASSES]
        known = all(own.get(key) and of_baseline.get(key) for key in keys)
        ratios = (f"{float(own[key]) / float(of_baseline[key]):.2f}" for key in keys if known)
        row[kind] = " / ".join(ratios) or "-"
    return row


def _made_with(method: Method, figures: Mapping[str, Published]) -> str:
    """Backbone, shots, epochs, and who ran it."""
    usual = _usual(method)
    if not figures or not usual:
        return "not published"
    figure = next(iter(figures.values()))
    parts = [figure.backbone]
    if not method.zero_shot:
        parts.append(f"{SHOTS} shots" if usual.shots else "all training images")
        parts.append(_epochs(method, usual, figure))
    return f"{', '.join(parts)}; run by {figure.run_by or 'its authors'}"


def _epochs(method: Method, usual: Setting, figure: Published) -> str:
    """The epochs of a figure, with the datasets that have others."""
    if figure.epochs:
        return f"{figure.epochs} epochs"
    backbone = method.values(usual.config)["MODEL.BACKBONE.NAME"]
    if method.lender or backbone != figure.backbone:  # made with another configuration
        return "epochs not published"
    epochs = {}
    for dataset in DATASETS:
        setting = method.setting(PROTOCOL, dataset)
        own = setting.options.get("OPTIM.MAX_EPOCH")
        epochs[dataset] = own or method.max_epoch(setting.config)
    most = Counter(epochs.values()).most_common(1)[0][0]
    others = [f", {name} {count}" for name, count in epochs.items() if count != most]
    return f"{most} epochs{''.join(others)}"


def full_rows(transductive: bool, costs: Costs) -> list[Row]:
    """A row a method, in the order of their papers."""
    found = [methods.find(name) for name in methods.names()]
    rows = []
    for method in found:
        if method.transductive != transductive or not method.serves(PROTOCOL):
            continue
        figures = figures_of(method.reported_as or method.name)
        row = {"method": method.name, **_costs(method.name, costs), **_words(figures)}
        rows.append({**row, "made with": _made_with(method, figures), "saw": _saw(method)})
    return rows


def brief_rows(transductive: bool, costs: Costs) -> list[Row]:
    """Those of published figures, with a few columns."""
    kept = ("method", *METRICS.values(), "learned numbers", "step", "saw")
    return [
        {name: row[name] for name in kept}
        for row in full_rows(transductive, costs)
        if row["H"] != "-"
    ]


def rerun_rows() -> list[Row]:
    """Published averages that are no row of a method's own: reruns, and methods that are not here."""
    own = {methods.find(name).reported_as or name for name in methods.names()}
    of_protocol = (key[1] for key in published() if (key[0], key[2]) == (PROTOCOL, "average"))
    rows = []
    for name in dict.fromkeys(of_protocol):
        if name not in own and (figures := figures_of(name)):
            figure = figures["base"]
            epochs = f", {figure.epochs} epochs" if figure.epochs else ""
            made = f"{figure.backbone}, {SHOTS} shots{epochs}; run by "
            rows.append(
                {
                    "figures": name,
                    **_words(figures),
                    "made with": made + (figure.run_by or "its authors"),
                }
            )
    return rows


def notes() -> Iterator[str]:
    """How sure figures are, and what published settings of single datasets are."""
    yield from (f"`{mark}`: {said}." for said, mark in MARKS.items() if mark)
    for name in methods.names():
        if _usual(method := methods.find(name)):
            yield from (f"{name}: {note}." for note in method.notes(PROTOCOL, DATASETS))


def blocks() -> dict[str, dict[str, str]]:
    """What stands between marks, by document and mark."""
    costs = read_benchmarks(COSTS)

    def table(rows: Sequence[Row]) -> str:
        return tabulate(rows, "keys", "github", disable_numparse=True)

    return {
        "docs/methods.md": {
            "inductive": table(full_rows(False, costs)),
            "transductive": table(full_rows(True, costs)),
            "reruns": table(rerun_rows()),
            "notes": "\n".join(f"- {note}" for note in notes()),
        },
        "README.md": {
            "inductive": table(brief_rows(False, costs)),
            "transductive": table(brief_rows(True, costs)),
        },
    }


def fill(text: str, parts: Mapping[str, str]) -> str:
    """A document with other parts between its marks.

    Raises:
        UsageError: it has no such marks.
    """
    for name, part in parts.items():
        pattern = rf"(?s)(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)"
        text, count = re.subn(pattern, lambda _, part=part: f"\n{part}\n\n", text)
        if count != 1:
            raise UsageError(f"there are {count} places between <!-- {name} --> and its end, not 1")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m protocols.overview",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--write", action="store_true", help="into the documents")
    given = parser.parse_args(arguments)
    for document, parts in blocks().items():
        if given.write:
            path = ROOT / document
            path.write_text(fill(path.read_text(encoding="utf-8"), parts), encoding="utf-8")
        else:
            print(f"{document}\n", *parts.values(), sep="\n\n", end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
