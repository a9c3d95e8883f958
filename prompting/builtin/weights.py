"""The small CLIP's weights file, and its expansion into OpenAI's layout.

The file (safetensors, fp16) keeps only the rows of the token table that pre-training saw. The other
rows are drawn anew from the recorded seed: such tokens are as unknown as at initialisation, but the
same on every machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import InputError

WEIGHTS = Path(__file__).with_name("builtin-vit-small.safetensors")
TABLE = "token_embedding.weight"
SEEN = "token_ids"
VOCABULARY = 49408
UNSEEN_SPREAD = 0.02


def write_weights(
    path: str | Path, state: dict[str, Tensor], tokens: list[int], seed: int, notes: dict[str, str]
) -> None:
    """Write the small file.

    Args:
        path: the file.
        state: weights in OpenAI's layout, but with one row of the token table for each of ``tokens``.
        tokens: ids of those rows in OpenAI's tokenizer.
        seed: seed of the rows that are left out.
        notes: what else to record in the file's header.
    """
    kept = {name: value.half().contiguous() for name, value in state.items()}
    kept[SEEN] = torch.tensor(tokens, dtype=torch.int32)
    temporary = Path(f"{path}.part")
    temporary.write_bytes(save(kept, metadata={"unseen_seed": str(seed), **notes}))
    temporary.replace(path)


def read_weights(path: str | Path = WEIGHTS) -> dict[str, Tensor]:
    """The full state dict in OpenAI's layout, fp32, from the small file.

    Raises:
        InputError: there is no such file, it is not a small file, or is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            seed = int(file.metadata()["unseen_seed"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        seen = state.pop(SEEN).long()
    except FileNotFoundError:
        raise InputError(
            f"The built-in CLIP's weights are missing: {path}. They come with the repository: restore "
            "the file, or make it by `python -m pretraining.train`."
        ) from None
    except Exception as error:
        raise InputError(
            f"{path} does not hold the built-in CLIP ({error}). Restore the file from the repository."
        ) from error
    state = {name: value.float() for name, value in state.items()}
    state[TABLE] = _full_table(state[TABLE], seen, seed)
    return state


def _full_table(rows: Tensor, seen: Tensor, seed: int) -> Tensor:
    # Uniform numbers of RandomState: a frozen stream and exact arithmetic, alike on every machine.
    unseen = np.random.RandomState(seed).random_sample((VOCABULARY, rows.shape[1]))
    reach = UNSEEN_SPREAD * 3**0.5
    table = torch.from_numpy(((2 * unseen - 1) * reach).astype(np.float16)).float()
    table[seen] = rows
    return table
