"""Refinement of an image's category maps: `refine_steps` reads the settings, `refine_image` acts.

Every other part that refines maps (`iseg sweep`, the plain path of `iseg benchmark`) asks
`refine_steps` what a setting of `refine.mode` means.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from iseg_cli.config import Settings
from iseg_cli.config.schema import EntSelfSettings
from iseg_cli.ops.ent_self import reduce_entropy
from iseg_cli.ops.maps import AttentionMaps
from iseg_cli.ops.refine import refine, refine_adaptively

COLUMNS = 16
"""Categories refined together on a GPU. Products of one width are rounded alike in every batch."""


@dataclass(frozen=True)
class AdaptiveStop:
    """When the refinement of an image ends before its greatest number of products.

    Attributes:
        tolerance: the share of a map's mass, 0 to 1. Refinement ends when every map of the image
            changes by less.
        min_products: the least number of products.
    """

    tolerance: float
    min_products: int


@dataclass(frozen=True)
class RefineSteps:
    """The steps that refine the category maps of an image, in this order.

    A new step is a new field with a default that leaves it out.

    Attributes:
        ent_self: how Ent-Self reduces the entropy of the self-attention; None leaves it unchanged.
        products: how many times the maps are multiplied by the self-attention; with `stop` the
            greatest number.
        stop: when refinement ends earlier; None for exactly `products` products.
    """

    ent_self: EntSelfSettings | None
    products: int
    stop: AdaptiveStop | None = None

    @property
    def is_shareable(self) -> bool:
        """Whether `ent_self` and `products` say everything.

        Settings that differ only in these two can share one trajectory of products.
        """
        return self == RefineSteps(self.ent_self, self.products)


def refine_steps(settings: Settings) -> RefineSteps:
    """Return the steps that `refine.mode` and its companions ask for.

    Example:
        >>> from iseg_cli.config import Settings
        >>> refine_steps(Settings(refine={"mode": "single"}))
        RefineSteps(ent_self=None, products=1, stop=None)
    """
    rule = settings.refine
    if rule.mode == "adaptive":
        stop = AdaptiveStop(rule.tolerance, rule.min_iterations)
        return RefineSteps(settings.ent_self, rule.iterations, stop)
    products = {"none": 0, "single": 1}.get(rule.mode, rule.iterations)
    # Without a product nothing reads the self-attention.
    has_ent_self = rule.mode == "iterative" and products > 0
    return RefineSteps(settings.ent_self if has_ent_self else None, products)


def refine_image(attention: AttentionMaps, index: int, steps: RefineSteps) -> Tensor:
    """Return the refined category maps of one image of a batch, Float[pixels categories].

    Images are refined one by one. Memory never holds a second copy of a batch's self-attention, a
    small one stays in the caches of a CPU, and the categories of other images change nothing.

    Args:
        attention: of the batch.
        index: which image of the batch.
        steps: as `refine_steps` returns them.
    """
    count = int(attention.valid[index].sum())
    own = slice(index, index + 1)
    maps, self_attention = _pad(attention.cross[own, :, :count]), attention.self_attention[own]
    if steps.ent_self is not None:
        self_attention = reduce_entropy(
            self_attention, step_size=steps.ent_self.step_size, log=steps.ent_self.log
        )
    if steps.stop is not None:  # all categories of an image stop together
        refined, _ = refine_adaptively(
            maps,
            self_attention,
            tolerance=steps.stop.tolerance,
            min_iterations=steps.stop.min_products,
            max_iterations=steps.products,
        )
    else:
        blocks = maps.split(COLUMNS, dim=-1)
        refined = torch.cat(
            [refine(block, self_attention, iterations=steps.products) for block in blocks], -1
        )
    return refined[0, :, :count]


def _pad(maps: Tensor) -> Tensor:
    """Add columns of zeros up to the next multiple of COLUMNS.

    On a CPU nothing is added: there no column changes the rounding of another.
    """
    return maps if maps.is_cpu else pad(maps, (0, -maps.shape[-1] % COLUMNS))
