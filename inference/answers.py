"""Answers as a table, and as a CSV or JSON file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from tabulate import tabulate

from prompting.errors import InputError
from prompting.files import write_atomically

from .classifier import Prediction


class Answers:
    """Predictions on their way to where they are wanted, one by one.

    Args:
        predictions: one a picture.
        top: classes in an answer.
        least: the probability below which a picture gets no name.

    Attributes:
        named: (path, name) of the pictures that got one. unreadable: (path, reason) of those that could
        not be read.
    """

    def __init__(self, predictions: Iterable[Prediction], top: int, least: float = 0.0) -> None:
        self._predictions, self._top, self._least = predictions, top, least
        self.named: list[tuple[str, str]] = []
        self.unreadable: list[tuple[str, str]] = []
        self.count = 0

    def __iter__(self) -> Iterator[tuple[str, Prediction]]:
        """The name that a picture gets, and the whole answer.

        Raises:
            InputError: at the end, where no picture could be read.
        """
        for each in self._predictions:
            self.count += 1
            name = each.name if not each.error and each.probabilities[0] >= self._least else ""
            if each.error:
                self.unreadable.append((each.path, each.error))
            elif name:
                self.named.append((each.path, name))
            yield name, each
        if self.unreadable and len(self.unreadable) == self.count:
            path, reason = self.unreadable[0]
            others = f" (and of {self.count - 1} others none)" if self.count > 1 else ""
            raise InputError(f"{path} cannot be read{others}: {reason}")

    def table(self) -> str:
        """For reading: a line a picture."""
        rows = []
        for name, each in self:
            pairs = zip(each.names[1:], each.probabilities[1:], strict=True)
            others = ", ".join(f"{other} {value:.3f}" for other, value in pairs)
            first = f"{each.probabilities[0]:.3f}" if each.probabilities else ""
            unnamed = f"(unnamed) {each.name}" if each.name else ""
            rows.append((each.path, name or unnamed, first, each.error or others))
        headers = ("picture", "class", "probability", "then")
        return tabulate(rows, headers, disable_numparse=True)

    def write_csv(self, file: TextIO) -> None:
        """A row a picture: path, name ("" where none is given), classes with probabilities, error."""
        writer = csv.writer(file, lineterminator="\n")
        ranks = range(1, self._top + 1)
        columns = [column for rank in ranks for column in (f"class_{rank}", f"probability_{rank}")]
        writer.writerow(["path", "name", *columns, "error"])
        for name, each in self:
            pairs = zip(each.names, each.probabilities, strict=True)
            cells = [cell for other, value in pairs for cell in (other, f"{value:.6g}")]
            cells += [""] * (len(columns) - len(cells))
            writer.writerow([each.path, name, *cells, each.error])

    def write_json(self, file: TextIO, about: Mapping[str, Any]) -> None:
        """One object: what is told about the classifier, and "pictures", a list."""
        head = json.dumps({**about, "pictures": []}, ensure_ascii=False)
        file.write(f"{head[:-2]}\n")
        for index, (name, each) in enumerate(self):
            pairs = zip(each.names, each.probabilities, strict=True)
            top = [{"class": other, "probability": value} for other, value in pairs]
            picture = {"path": each.path, "name": name, "top": top, "error": each.error}
            file.write((",\n" if index else "") + json.dumps(picture, ensure_ascii=False))
        file.write("\n]}\n")


def write(path: Path, fill: Any) -> None:
    """Have `fill` write a text file, which is there whole or not at all."""

    def to_file(temporary: Path) -> None:
        # names of files may be any bytes
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            fill(file)

    write_atomically(path, to_file)
