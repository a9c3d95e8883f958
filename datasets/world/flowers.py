"""The flowers of the world: species told apart by their petals, whorls, centres and colours."""

from __future__ import annotations

from typing import NamedTuple

from .shapes import Part, ellipse, polygon

PETALS: dict[str, Part] = {
    "round": ellipse(0, -0.64, 0.3, 0.36),
    "broad": ellipse(0, -0.55, 0.46, 0.45),
    "narrow": ellipse(0, -0.58, 0.12, 0.42),
    "pointed": polygon(0, -1, 0.2, -0.62, 0.16, -0.25, 0, 0, -0.16, -0.25, -0.2, -0.62),
    "notched": polygon(
        0, -0.8, 0.17, -1, 0.34, -0.8, 0.22, -0.4, 0, 0, -0.22, -0.4, -0.34, -0.8, -0.17, -1
    ),
}  # fmt: skip
"""Outlines of one petal, pointing up from the centre of the flower."""


class Species(NamedTuple):
    """Petals in each whorl, their shape, the number of whorls, the colours they come in, and the
    colour and radius of the centre."""

    petals: int
    shape: str
    whorls: int
    colours: tuple[str, ...]
    centre: str
    radius: float


SPECIES: dict[str, Species] = {
    "daisy": Species(12, "narrow", 1, ("white", "pink"), "yellow", 0.25),
    "sunflower": Species(13, "pointed", 1, ("yellow", "orange"), "brown", 0.44),
    "lily": Species(6, "pointed", 1, ("white", "orange", "pink"), "orange", 0.1),
    "poppy": Species(4, "broad", 1, ("red", "orange"), "black", 0.22),
    "pansy": Species(5, "broad", 2, ("purple", "yellow", "blue"), "yellow", 0.12),
    "rose": Species(5, "broad", 3, ("red", "pink", "white"), "red", 0.12),
    "dahlia": Species(9, "pointed", 3, ("red", "purple", "orange"), "yellow", 0.1),
    "peony": Species(7, "round", 3, ("pink", "white"), "pink", 0.15),
    "aster": Species(16, "narrow", 1, ("purple", "blue", "pink"), "yellow", 0.3),
    "primrose": Species(5, "notched", 1, ("yellow", "white", "pink"), "orange", 0.2),
    "periwinkle": Species(5, "broad", 1, ("blue", "purple"), "white", 0.14),
    "jasmine": Species(5, "narrow", 1, ("white", "yellow"), "green", 0.1),
    "violet": Species(5, "round", 1, ("purple", "blue"), "orange", 0.12),
    "buttercup": Species(5, "round", 1, ("yellow", "orange"), "green", 0.26),
    "orchid": Species(3, "broad", 2, ("pink", "white", "purple"), "red", 0.16),
    "clematis": Species(8, "pointed", 1, ("purple", "blue", "white"), "white", 0.22),
    "magnolia": Species(9, "broad", 1, ("white", "pink"), "brown", 0.16),
    "anemone": Species(8, "round", 1, ("red", "blue", "purple", "white"), "black", 0.28),
    "cosmos": Species(8, "notched", 1, ("pink", "white", "purple"), "yellow", 0.22),
    "marigold": Species(12, "round", 2, ("orange", "yellow"), "brown", 0.12),
    "gerbera": Species(16, "narrow", 2, ("red", "orange", "pink"), "black", 0.2),
    "gentian": Species(4, "pointed", 1, ("blue", "purple"), "white", 0.15),
    "trillium": Species(3, "pointed", 1, ("white", "red", "pink"), "yellow", 0.14),
    "lotus": Species(8, "pointed", 2, ("pink", "white"), "yellow", 0.24),
}
"""Every species by name; two of them share a colour often, never all else."""
