"""Registering trainers beside those of a project that uses them."""

from __future__ import annotations

from typing import TypeVar

from dassl.engine import TRAINER_REGISTRY

Trainer = TypeVar("Trainer", bound=type)


def register(trainer: Trainer) -> Trainer:
    """Register a trainer under its class's name; a project's own of that name stays, and it is said."""
    name = trainer.__name__
    if name in TRAINER_REGISTRY.registered_names():
        theirs = TRAINER_REGISTRY.get(name).__module__
        print(
            f"--trainer {name} is the project's own, of {theirs}; {trainer.__module__} has another"
        )
    else:
        TRAINER_REGISTRY.register(trainer)
    return trainer
