"""A convolution that adapts to the image."""

from __future__ import annotations

import torch
from torch import nn

from .attention import Attention

__all__ = ["Conv2dDynamic"]


class Conv2dDynamic(nn.Module):
    """A convolution plus four thinner ones that an attention over the image weighs (Sun et al.
    2022, Dynamic Domain Generalization): depthwise, 1 x 1, a column and a row.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel, odd.
        stride: stride of all five.
        padding: half of ``kernel_size``, rounded down.
        bias: with biases.
        squeeze: width of the attention's hidden layer.
        attention_in_channels: channels of what the attention sees, where that is not the input.

    Raises:
        ValueError: an even kernel, or a padding that changes the size of the feature map.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        padding: int,
        bias: bool = True,
        squeeze: int | None = None,
        attention_in_channels: int | None = None,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0 or padding != kernel_size // 2:
            raise ValueError(
                f"Conv2dDynamic has kernel_size {kernel_size} and padding {padding}: its parts fit "
                "together for an odd kernel_size and padding = kernel_size // 2"
            )

        def convolution(size: int | tuple[int, int], margin: int | tuple[int, int], groups: int):
            return nn.Conv2d(in_channels, out_channels, size, stride, margin, 1, groups, bias)

        self.conv = convolution(kernel_size, padding, 1)
        self.kernel_templates = nn.ModuleDict(
            {
                "conv_nn": convolution(kernel_size, padding, min(in_channels, out_channels)),
                "conv_11": convolution(1, 0, 1),
                "conv_n1": convolution((kernel_size, 1), (padding, 0), 1),
                "conv_1n": convolution((1, kernel_size), (0, padding), 1),
            }
        )
        self.attention = Attention(
            attention_in_channels or in_channels, len(self.kernel_templates), squeeze, bias
        )

    def forward(self, x: torch.Tensor, attention_x: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, in_channels, height, width) to (batch, out_channels, height', width')."""
        weights = self.attention(x if attention_x is None else attention_x)
        output = self.conv(x)
        for weight, template in zip(weights.T, self.kernel_templates.values(), strict=True):
            output = output + template(x) * weight[:, None, None, None]
        return output
