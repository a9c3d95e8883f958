"""Average the results in log files over the seeds of an experiment.

    python parse_test_res.py output/base2new/train_base/dtd/shots_16/PromptSRC/CFG
    python parse_test_res.py output/base2new/test_new/dtd/shots_16/PromptSRC/CFG --test-log
    python parse_test_res.py output/evaluation/PromptSRC/CFG --test-log --multi-exp

DIRECTORY holds one sub-folder a seed, with the logs of its runs: the newest log that holds a result
counts. Runs of several methods, and a run that is there twice, are refused. With --multi-exp it holds
one folder an experiment, each with its seeds. Values are read as printed, with one decimal;
`python -m protocols.report` has them at full precision.
"""

from __future__ import annotations

import argparse
import itertools
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

TRAINING_ENDS, TEST_STARTS = "Finish training", "=> result"
_OF_A_RUN = (
    re.compile(r"^Loading trainer: (\S+)", re.MULTILINE),
    re.compile(r"^Loading dataset: (\S+)", re.MULTILINE),
    re.compile(r"^Setting fixed seed: (\S+)", re.MULTILINE),
)
"""What a log says of its method, its dataset and its seed."""


class ParseError(ValueError):
    """A folder from which no average can be made."""


def read_value(log: Path, marker: str, keyword: str) -> float | None:
    """The last value that a log prints for a keyword after the last marker, in percent.

    Raises:
        ParseError: it is no number.
    """
    text = log.read_text(encoding="utf-8", errors="replace")
    _, found, rest = text.rpartition(marker)
    values = re.findall(rf"^\* {re.escape(keyword)}: (\S+)%", rest, re.MULTILINE)
    try:
        return float(values[-1]) if found and values else None
    except ValueError:
        raise ParseError(f"{log} has a {keyword} of {values[-1]}%, which is no number") from None


def read_seed(folder: Path, marker: str, keyword: str) -> tuple[Path, float] | None:
    """The newest log of a folder that holds a result, and its value.

    An older log is never renamed and a newer one's name ends in its time, so that names tell the age
    where a copy has lost it.
    """
    for log in sorted(folder.glob("log.txt*"), reverse=True):
        value = read_value(log, marker, keyword)
        if value is not None:
            return log, value
    return None


def results_in(folder: Path, marker: str) -> list[str]:
    """What the newest log of a folder that holds results prints after the marker, by its keywords."""
    for log in sorted(folder.glob("log.txt*"), reverse=True):
        _, found, rest = log.read_text(encoding="utf-8", errors="replace").rpartition(marker)
        if found and (keywords := re.findall(r"^\* (\S+): \S+%", rest, re.MULTILINE)):
            return keywords
    return []


def refuse_mixture(logs: Sequence[Path]) -> None:
    """Refuse logs of several methods, or of one run twice, as far as they tell it.

    Raises:
        ParseError: names the folders.
    """
    told = {}
    for log in logs:
        text = log.read_text(encoding="utf-8", errors="replace")
        told[log] = tuple(match and match[1] for match in (line.search(text) for line in _OF_A_RUN))
    for earlier, log in itertools.combinations(logs, 2):
        (method, *_), (other, *_) = told[earlier], told[log]
        if method and other and method != other:
            raise ParseError(
                f"{earlier} is of {method} and {log} of {other}: give the folder of one experiment"
            )
        if all(told[log]) and told[log] == told[earlier]:
            raise ParseError(
                f"{earlier} and {log} are both of {', '.join(told[log][:2])}, seed {told[log][2]}: "
                "move one of them away"
            )


def subfolders(directory: Path) -> list[Path]:
    """The folders in a directory, by name.

    Raises:
        ParseError: there are none.
    """
    if not directory.is_dir():
        raise ParseError(f"there is no folder {directory}")
    found = sorted(p for p in directory.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not found or list(directory.glob("log.txt*")):
        raise ParseError(
            f"{directory} is not a folder of seeds: expected sub-folders such as seed1, each with a "
            f"log.txt{'; give its parent folder' if list(directory.glob('log.txt*')) else ''}"
        )
    return found


def summarise(directory: Path, marker: str, keyword: str, ci95: bool) -> float:
    """Print the values of all seeds, their mean and spread; returns the mean.

    Raises:
        ParseError: a seed has no result, or these are not the seeds of one experiment.
    """
    print(f"Directory: {directory}")
    found = {folder: read_seed(folder, marker, keyword) for folder in subfolders(directory)}
    for folder, result in found.items():
        if result is None and (there := results_in(folder, marker)):
            raise ParseError(
                f"the results in {folder} have no {keyword}: give one of {', '.join(there)} as "
                "--keyword"
            )
    if missing := [folder.name for folder, result in found.items() if result is None]:
        raise ParseError(
            f"no {keyword} after {marker!r} in any log of {', '.join(missing)} in {directory}: the run "
            "is unfinished"
            + ("" if marker == TEST_STARTS else ", or a mere test (--test-log reads those)")
        )
    refuse_mixture([log for log, _ in found.values()])
    values = []
    for log, value in found.values():
        if not 0 <= value <= 100:
            raise ParseError(f"{log} has a {keyword} of {value}%: expected 0 to 100. Test again")
        print(f"file: {log}  {keyword}: {value:.1f}%")
        values.append(value)
    mean, spread = statistics.fmean(values), statistics.pstdev(values)
    if ci95:
        spread *= 1.96 / len(values) ** 0.5
    kind = "95% interval" if ci95 else "standard deviation"
    print(f"* {keyword}: {mean:.1f}% +- {spread:.1f}% ({kind}, {len(values)} runs)\n")
    return mean


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, metavar="DIRECTORY")
    parser.add_argument("--ci95", action="store_true", help="95%% interval of the mean, as spread")
    parser.add_argument("--test-log", action="store_true", help="logs of tests, without training")
    parser.add_argument("--multi-exp", action="store_true", help="one folder an experiment")
    parser.add_argument("--keyword", default="accuracy", help="what to average (accuracy)")
    given = parser.parse_args(arguments)
    marker = TEST_STARTS if given.test_log else TRAINING_ENDS
    try:
        folders = subfolders(given.directory) if given.multi_exp else [given.directory]
        means = [summarise(folder, marker, given.keyword, given.ci95) for folder in folders]
    except ParseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.multi_exp:
        print(f"Average over {len(means)} experiments: {statistics.fmean(means):.1f}%")
    return 0


if __name__ == "__main__":
    sys.exit(main())
