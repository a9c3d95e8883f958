"""The root of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

import yaml
from dassl.utils import InputError
from yacs.config import CfgNode

__all__ = ["Configuration"]

_SUFFIXES = (".yaml", ".yml")


class Configuration(CfgNode):
    """A node of yacs that reads YAML only: yacs would execute a file of Python's.

    The nodes below the root are plain ones, as those that plugins add.
    """

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Configuration:
        """A configuration of a copy of nested dictionaries."""
        root = cls()
        for name, value in CfgNode(dict(options)).items():
            root[name] = value
        return root

    @classmethod
    def load_cfg(cls, cfg_file_obj_or_str: TextIO | str) -> CfgNode:
        """Read an open YAML file, or YAML as text.

        Raises:
            InputError: the file is of another kind, damaged or empty.
        """
        name = getattr(cfg_file_obj_or_str, "name", None)
        if name is not None and not str(name).lower().endswith(_SUFFIXES):
            raise InputError(
                f'"{name}" is no configuration: expected YAML, in a file whose name ends in '
                f"{' or '.join(_SUFFIXES)}."
            )
        shown = "given as text" if name is None else f'"{name}"'
        try:
            options = yaml.safe_load(cfg_file_obj_or_str)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"The configuration {shown} is not YAML in UTF-8: {reason}") from error
        if not isinstance(options, dict):
            raise InputError(f"The configuration {shown} holds no options; is it complete?")
        return CfgNode(options)

    @classmethod
    def _decode_cfg_value(cls, value: Any) -> Any:
        # yacs compares types, and the nodes below are plain.
        return CfgNode(value) if isinstance(value, dict) else super()._decode_cfg_value(value)
