"""The model of cost: floating point operations of the matrix products of a PromptSRC step.

A product of (m, k) and (k, n) counts 2 m k n. Weights are frozen, so the backward pass of a linear
layer is one such product more (the gradient of its input), and that of attention's two products is
five (one of them recomputes the scores). The last layer runs beyond its keys and values only where it
is read: at EOT, and at the class token.
"""

from __future__ import annotations

from collections.abc import Mapping


def layers(tokens: int, seen: int, outputs: int, width: int, count: int) -> tuple[float, float]:
    """Linear and attention operations, forward, of a transformer.

    Args:
        tokens: tokens in all sequences together; each attends to `seen` tokens.
        outputs: tokens at which the last layer is read.
    """
    linear = (count - 1) * 24 * tokens * width**2 + 6 * tokens * width**2 + 18 * outputs * width**2
    attention = (count - 1) * 4 * tokens * seen * width + 4 * outputs * seen * width
    return linear, attention


def text_encoder(
    classes: int,
    suffix_tokens: int,
    prefix_tokens: int,
    row: int,
    sizes: Mapping[str, int],
    backward: bool = True,
) -> float:
    """The shared prefix and the rows of suffixes, padding included in suffix_tokens."""
    width, count = sizes["transformer_width"], sizes["transformer_layers"]
    linear, attention = layers(suffix_tokens, prefix_tokens + row, classes, width, count)
    # in the last layer all suffix tokens ask, and only the answers at EOT are used
    attention += 4 * (suffix_tokens - classes) * (prefix_tokens + row) * width
    linear += (count - 1) * 24 * prefix_tokens * width**2 + 6 * prefix_tokens * width**2
    return _with_backward(linear, attention) if backward else linear + attention


def plain_text_encoder(classes: int, sizes: Mapping[str, int], backward: bool = True) -> float:
    """77 tokens a class in all layers."""
    width, count = sizes["transformer_width"], sizes["transformer_layers"]
    tokens = 77 * classes
    linear, attention = count * 24 * tokens * width**2, count * 4 * tokens * 77 * width
    return _with_backward(linear, attention) if backward else linear + attention


def image_encoder(
    batch: int, prompts: int, sizes: Mapping[str, int], backward: bool = False
) -> float:
    """A vision transformer over batch images, without the embedding of the patches."""
    width = sizes["vision_width"]
    patches = (sizes["image_resolution"] // sizes["vision_patch_size"]) ** 2
    tokens = 1 + patches + prompts
    linear, attention = layers(batch * tokens, tokens, batch, width, sizes["vision_layers"])
    # the last layer projects no query but that of the class token
    linear -= 2 * batch * (tokens - 1) * width**2
    return _with_backward(linear, attention) if backward else linear + attention


def prompt_src_step(
    classes: int,
    suffix_tokens: int,
    prefix_tokens: int,
    batch: int,
    row: int,
    prompts: int,
    sizes: Mapping[str, int],
) -> float:
    """Student forward and backward, teacher forward, text forward and backward, patch embedding."""
    patch = sizes["vision_patch_size"]
    patches = batch * (sizes["image_resolution"] // patch) ** 2
    embedding = 2 * patches * 3 * patch**2 * sizes["vision_width"]
    return (
        image_encoder(batch, prompts, sizes, backward=True)
        + image_encoder(batch, 0, sizes)
        + text_encoder(classes, suffix_tokens, prefix_tokens, row, sizes)
        + embedding
    )


def _with_backward(linear: float, attention: float) -> float:
    return 2 * linear + 3.5 * attention
