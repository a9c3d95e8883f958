"""The datasets that can be downloaded and checked, by the names that people use for them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from dassl.data.datasets import DATASET_REGISTRY

from .errors import InputError
from .few_shot import FewShotDataset


def catalogue() -> dict[str, type[FewShotDataset]]:
    """The registered datasets that have a recipe, by registered name."""
    classes = {name: DATASET_REGISTRY.get(name) for name in DATASET_REGISTRY.registered_names()}
    return {name: c for name, c in classes.items() if getattr(c, "recipe", None)}


def find_datasets(names: Iterable[str]) -> dict[str, type[FewShotDataset]]:
    """The datasets of these names: registered ones (DescribableTextures), those of their config
    files (dtd), in any case; none at all, or "all", means every dataset.

    Raises:
        InputError: a name is unknown; the nearest one is offered.
    """
    known = catalogue()
    names = list(names)
    if not names or "all" in names:
        return known
    by_alias = {name.lower(): name for name in known}
    by_alias |= {c.__module__.rpartition(".")[2]: name for name, c in known.items()}
    found = {}
    for name in names:
        if name.lower() not in by_alias:
            near = difflib.get_close_matches(name.lower(), by_alias, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise InputError(f"No dataset {name!r}. {hint}There are: {', '.join(known)}.")
        found[by_alias[name.lower()]] = known[by_alias[name.lower()]]
    return found
