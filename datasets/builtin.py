"""The built-in sets: drawn under the data root when first used, then read like any other.

docs/world.md shows them. They are the only datasets that write into the data root.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from dassl.data.datasets import DATASET_REGISTRY

from .errors import MissingError, NotAFolderError
from .few_shot import FewShotDataset
from .world.drawing import FOLDER, IMAGES, SPLIT, draw_set
from .world.sets import SETS


class BuiltinDataset(FewShotDataset):
    """A set of the built-in world; a subclass names it.

    Raises:
        MissingError: no data root is given.
        NotAFolderError: the data root is a file.
        NoPermissionError: the set has to be drawn, and the data root cannot be written.
    """

    key: ClassVar[str]
    """Which of `datasets.world.sets.SETS` it is."""
    image_dir = IMAGES
    split_file = SPLIT

    def __init__(self, cfg: Any) -> None:
        if not cfg.DATASET.ROOT:
            raise MissingError(
                f"No data root given: {type(self).__name__} is drawn into "
                f"ROOT/{self.dataset_dir}. Pass --root ROOT (or set DATASET.ROOT)."
            )
        root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))
        if os.path.lexists(root) and not os.path.isdir(root):
            raise NotAFolderError(f"The data root {root} is not a folder. Pass --root FOLDER.")
        draw_set(SETS[self.key], os.path.join(root, self.dataset_dir))
        super().__init__(cfg)


@DATASET_REGISTRY.register()
class BuiltinThings(BuiltinDataset):
    """48 things in any colour: the source, as ImageNet is elsewhere."""

    key, dataset_dir = "things", f"{FOLDER}/things"


@DATASET_REGISTRY.register()
class BuiltinThingsSketch(BuiltinDataset):
    """The things as outline sketches; only tested on."""

    key, dataset_dir = "things_sketch", f"{FOLDER}/things_sketch"


@DATASET_REGISTRY.register()
class BuiltinThingsNegative(BuiltinDataset):
    """The things as coarse colour negatives; only tested on."""

    key, dataset_dir = "things_negative", f"{FOLDER}/things_negative"


@DATASET_REGISTRY.register()
class BuiltinThingsRough(BuiltinDataset):
    """The things pixelated, faded and noisy; only tested on."""

    key, dataset_dir = "things_rough", f"{FOLDER}/things_rough"


@DATASET_REGISTRY.register()
class BuiltinFlowers(BuiltinDataset):
    """24 flower species."""

    key, dataset_dir = "flowers", f"{FOLDER}/flowers"


@DATASET_REGISTRY.register()
class BuiltinFabrics(BuiltinDataset):
    """26 surfaces by the names that textile designers use."""

    key, dataset_dir = "fabrics", f"{FOLDER}/fabrics"


@DATASET_REGISTRY.register()
class BuiltinFormations(BuiltinDataset):
    """24 arrangements and counts of things, as blueprints."""

    key, dataset_dir = "formations", f"{FOLDER}/formations"


@DATASET_REGISTRY.register()
class BuiltinColoured(BuiltinDataset):
    """36 things of a certain colour."""

    key, dataset_dir = "coloured", f"{FOLDER}/coloured"
