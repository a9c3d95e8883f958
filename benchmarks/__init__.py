"""Speed and memory against the plain formula path and against the floor."""

import prompting  # noqa: F401  makes clip importable
