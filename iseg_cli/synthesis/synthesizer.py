"""Prompts in, images with their masks out: the sampler, refinement and labels in one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from iseg_cli.attention.sampler import Sampler
from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.backbones.prompts import Prompt, fill_template
from iseg_cli.config import Settings
from iseg_cli.ops.plausibility import area_shares, mean_margins
from iseg_cli.segmentation.category_maps import category_maps, labels
from iseg_cli.segmentation.segmenter import label_values
from iseg_cli.synthesis.image_specs import Order
from iseg_cli.types import LabelSet, Mask


@dataclass(frozen=True, eq=False)
class Picture:
    """One image as it was drawn.

    Attributes:
        image: RGB, 0 to 255.
        finite: whether it is whole: half precision may overflow, which leaves no picture.
        mask: of its size.
        prompt: the text it was drawn from.
        areas: the share of its pixels that each of its categories takes.
        confidences: by how much each beats its best rival there, on average.
    """

    image: UInt8[np.ndarray, "height width 3"]
    finite: bool
    mask: Mask
    prompt: str
    areas: tuple[float, ...]
    confidences: tuple[float, ...]


class Painter:
    """Draws images and segments them from the attention that drew them."""

    def __init__(
        self, model: DiffusionModel, settings: Settings, label_set: LabelSet, *, batch_size: int = 1
    ) -> None:
        self.model, self.settings, self.label_set = model, settings, label_set
        self.batch_size = batch_size
        self._sampler = Sampler(model, settings, batch_size=batch_size)

    def prompt(self, order: Order) -> Prompt:
        """Return the prompt of an order; PromptError where the text encoder cannot hold it."""
        return fill_template(
            order.template,
            order.categories,
            self.model.tokenizer,
            max_tokens=self.model.max_tokens,
        )

    @torch.inference_mode()
    def paint(self, orders: Sequence[Order]) -> list[Picture]:
        """Draw at most `batch_size` images and their masks.

        Raises:
            SettingsError: settings that ask for layers or heads that the model does not have.
            PromptError: a prompt that the text encoder cannot hold.
        """
        prompts = [self.prompt(order) for order in orders]
        drawn = self._sampler.draw(prompts, [order.seed for order in orders])
        maps = category_maps(drawn.attention, self.settings)
        sizes = [(self.model.image_size, self.model.image_size)] * len(orders)
        assigned = labels(maps, drawn.attention.valid, sizes, self.settings)
        pictures = []
        for index, (order, (label, scores)) in enumerate(zip(orders, assigned, strict=True)):
            rule = self.settings.assign
            margins = mean_margins(
                scores[None], label[None], background=rule.background, threshold=rule.threshold
            )
            areas = area_shares(label[None], categories=len(order.categories))
            values = label_values(order.categories, self.label_set)
            pictures.append(
                Picture(
                    image=drawn.images[index],
                    finite=drawn.finite[index],
                    mask=Mask(values[label.cpu().numpy()]),
                    prompt=prompts[index].text,
                    areas=tuple(areas[0].tolist()),
                    confidences=tuple(margins[0].tolist()),
                )
            )
        return pictures
