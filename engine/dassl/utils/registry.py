"""A table of named classes or functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .tools import check_availability

__all__ = ["Registry"]


class Registry:
    """Maps the ``__name__`` of a class or function to the object itself.

    Used as a decorator (``@REGISTRY.register()``) or as a call (``REGISTRY.register(obj)``).

    Args:
        name: what the registry holds, as it appears in error messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._objects: dict[str, Any] = {}

    def register(self, obj: Any = None, force: bool = False) -> Any:
        """Add ``obj`` under its ``__name__``; without ``obj``, return a decorator that does.

        Raises:
            KeyError: the name is taken and ``force`` is not set.
        """
        if obj is None:
            return self._decorator(force)
        self._add(obj, force)
        return obj

    def get(self, name: str) -> Any:
        """The object registered as ``name``.

        Raises:
            KeyError: nothing has that name; the message offers the nearest one.
        """
        if name not in self._objects:
            try:
                check_availability(name, self.registered_names())
            except ValueError as error:
                raise KeyError(f'"{name}" is not registered in {self._name}. {error}') from None
        return self._objects[name]

    def registered_names(self) -> list[str]:
        """All names, in order of registration."""
        return list(self._objects)

    def __contains__(self, name: str) -> bool:
        return name in self._objects

    def _decorator(self, force: bool) -> Callable[[Any], Any]:
        def decorate(obj: Any) -> Any:
            self._add(obj, force)
            return obj

        return decorate

    def _add(self, obj: Any, force: bool) -> None:
        name = obj.__name__
        if name in self._objects and not force:
            raise KeyError(
                f'"{name}" is already registered in {self._name}. '
                "Choose another name, or pass force=True to replace it."
            )
        self._objects[name] = obj
