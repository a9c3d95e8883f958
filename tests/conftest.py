"""What all tests have in common: a cache of their own, which no test of theirs and no user shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMPT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
