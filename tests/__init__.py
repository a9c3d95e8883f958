"""Tests of this project; importing prompting first makes clip importable wherever torch is."""

import prompting  # noqa: F401
