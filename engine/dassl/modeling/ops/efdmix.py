"""EFDMix: mixing styles as whole distributions."""

from __future__ import annotations

from functools import partial

import torch

from .mixstyle import StyleMixing, choose, run_with, run_without, switch

__all__ = [
    "EFDMix",
    "activate_efdmix",
    "crossdomain_efdmix",
    "deactivate_efdmix",
    "random_efdmix",
    "run_with_efdmix",
    "run_without_efdmix",
]


class EFDMix(StyleMixing):
    """Style as the sorted values of each channel, of which each value takes the other image's of
    the same rank (Zhang et al., CVPR 2022)."""

    def mix_styles(
        self, x: torch.Tensor, others: torch.Tensor, share: torch.Tensor
    ) -> torch.Tensor:
        """``x`` with values between its own and those of the same rank in ``x[others]``."""
        values = x.flatten(2)
        in_order, order = values.sort(dim=-1)
        of_same_rank = in_order[others].gather(-1, order.argsort(dim=-1))
        # the gradient passes to the image itself as if nothing had been mixed
        mixed = values + (of_same_rank - values.detach()) * (1 - share[..., 0])
        return mixed.view_as(x)


activate_efdmix = partial(switch, EFDMix, True)
deactivate_efdmix = partial(switch, EFDMix, False)
random_efdmix = partial(choose, EFDMix, "random")
crossdomain_efdmix = partial(choose, EFDMix, "crossdomain")
run_with_efdmix = partial(run_with, EFDMix)
run_without_efdmix = partial(run_without, EFDMix)
