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
from iseg_cli.segmentation.category_maps import assign_labels, category_maps
from iseg_cli.segmentation.segmenter import label_values
from iseg_cli.synthesis.image_specs import ImageSpec
from iseg_cli.types import LabelSet, Mask


@dataclass(frozen=True, eq=False)
class SyntheticImage:
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


class Synthesizer:
    """Draws images and segments them from the attention that drew them."""

    def __init__(
        self, model: DiffusionModel, settings: Settings, label_set: LabelSet, *, batch_size: int = 1
    ) -> None:
        self.model, self.settings, self.label_set = model, settings, label_set
        self.batch_size = batch_size
        self._sampler = Sampler(model, settings, batch_size=batch_size)

    def prompt(self, spec: ImageSpec) -> Prompt:
        """Return the prompt of an order; PromptError where the text encoder cannot hold it."""
        return fill_template(
            spec.template,
            spec.categories,
            self.model.tokenizer,
            max_tokens=self.model.max_tokens,
        )

    @torch.inference_mode()
    def synthesize_batch(self, specs: Sequence[ImageSpec]) -> list[SyntheticImage]:
        """Draw at most `batch_size` images and their masks.

        Raises:
            SettingsError: settings that ask for layers or heads that the model does not have.
            PromptError: a prompt that the text encoder cannot hold.
        """
        prompts = [self.prompt(spec) for spec in specs]
        drawn = self._sampler.draw(prompts, [spec.seed for spec in specs])
        maps = category_maps(drawn.attention, self.settings)
        sizes = [(self.model.image_size, self.model.image_size)] * len(specs)
        assigned = assign_labels(maps, drawn.attention.valid, sizes, self.settings)
        pictures = []
        for index, (spec, (label, scores)) in enumerate(zip(specs, assigned, strict=True)):
            rule = self.settings.assign
            margins = mean_margins(
                scores[None], label[None], background=rule.background, threshold=rule.threshold
            )
            areas = area_shares(label[None], categories=len(spec.categories))
            values = label_values(spec.categories, self.label_set)
            pictures.append(
                SyntheticImage(
                    image=drawn.images[index],
                    finite=drawn.finite[index],
                    mask=Mask(values[label.cpu().numpy()]),
                    prompt=prompts[index].text,
                    areas=tuple(areas[0].tolist()),
                    confidences=tuple(margins[0].tolist()),
                )
            )
        return pictures
