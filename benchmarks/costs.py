"""The model of cost: floating point operations of the matrix products of a training step.

A product of (m, k) and (k, n) counts 2 m k n. Weights are frozen, so the backward pass of a linear
layer is one such product more (the gradient of its input), and that of attention's two products is
four. A layer needs a backward pass where something learned has
entered at its start or before. The last layer runs beyond its keys and values only where it is read:
at EOT, and at the class token and the tokens beside it. Adapters, heads and maps of features are left
out: they are below 3% of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prompting.steering import Steering, TextSteering

from .passes import ImagePass, TextPass


def first_learned_layer(steering: Steering, layers: int) -> int:
    """The first layer whose input depends on what is learned; `layers` where none does."""
    context = steering.context if isinstance(steering, TextSteering) else None
    if _learned(context) or steering.embedding_adapter:
        return 0
    entering = [
        layer
        for kind in ("prompts", "inserted", "class_tokens")
        for layer, vectors in getattr(steering, kind, {}).items()
        if _learned(vectors)
    ]
    # an adapter beside a block meets what is frozen there, and changes what the next block gets
    entering += [layer + 1 for layer in steering.adapters]
    return min(entering, default=layers)


def _learned(vectors: Tensor | None) -> bool:
    return vectors is not None and vectors.requires_grad


def text_pass(seen: TextPass) -> float:
    """Operations of the shared prefix and of the packed suffixes, padding included."""
    encoder, layout, steering = seen.encoder, seen.layout, seen.steering
    width, layers = encoder.width, encoder.layers
    shared, rows = len(layout.prefix), layout.rows
    first, total = first_learned_layer(steering, layers), 0.0
    for layer in range(layers):
        if layer == min(steering.inserted, default=-1):
            shared += steering.num_inserted
        if layer in steering.class_tokens:
            shared, rows = 1, layout.class_aware.rows
        own = rows.count * rows.length
        last = layer == layers - 1
        read = len(layout) if last else shared + own
        linear = 6 * (shared + own) * width**2 + 18 * read * width**2
        attention = 4 * own * (shared + rows.length) * width
        attention += 0 if last else 4 * shared**2 * width
        total += _with_backward(linear, attention, seen.backward if layer >= first else 0)
    context = steering.context
    return total * (len(context) if context is not None and context.ndim == 3 else 1)


def image_pass(seen: ImagePass) -> float:
    """Operations of a vision transformer over a batch, the embedding of the patches included."""
    encoder, steering = seen.encoder, seen.steering
    width, layers, (batch, channels, *size) = encoder.width, encoder.layers, seen.images.shape
    patch = encoder.conv1.kernel_size[0]
    patches = size[0] // patch * (size[1] // patch)
    tokens, read = 1 + patches, 1 + steering.num_inserted
    first = first_learned_layer(steering, layers)
    total = 2.0 * batch * patches * channels * patch**2 * width
    for layer in range(layers):
        if layer == min(steering.prompts, default=-1):
            tokens += len(steering.prompts[layer])
        if layer == min(steering.inserted, default=-1):
            tokens += steering.num_inserted
        last = layer == layers - 1
        asking = read if last else tokens
        linear = 4 * batch * tokens * width**2 + 20 * batch * asking * width**2
        attention = 4 * batch * asking * tokens * width
        total += _with_backward(linear, attention, seen.backward if layer >= first else 0)
    return total


def _with_backward(linear: float, attention: float, times: int) -> float:
    return linear * (1 + times) + attention * (1 + 2 * times)


def step(passes: Iterable[TextPass | ImagePass]) -> tuple[float, float]:
    """Operations of a step's text passes and of its image passes."""
    text = image = 0.0
    for each in passes:
        if isinstance(each, TextPass):
            text += text_pass(each)
        else:
            image += image_pass(each)
    return text, image


def counted(path: Callable[[], object]) -> int:
    """Operations as PyTorch counts them; what runs on the device "meta" is counted without being
    computed."""
    # of fused attention it knows some kernels only
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        path()
    return counter.get_total_flops()


META = torch.device("meta")
