"""Image specs in, synthetic images with masks out: sampling, refinement and assignment."""

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
    """One generated image with its mask.

    Attributes:
        image: RGB, 0 to 255.
        finite: whether all its values are numbers; half precision may overflow.
        mask: the labels of its pixels.
        prompt: its prompt.
        areas: each category's share of the pixels, 0 to 1.
        confidences: each category's mean margin over the second best score in its area.
    """

    image: UInt8[np.ndarray, "height width 3"]
    finite: bool
    mask: Mask
    prompt: str
    areas: tuple[float, ...]
    confidences: tuple[float, ...]


class Synthesizer:
    """Generates images and segments them from the attention of their own generation."""

    def __init__(
        self, model: DiffusionModel, settings: Settings, label_set: LabelSet, *, batch_size: int = 1
    ) -> None:
        self.model, self.settings, self.label_set = model, settings, label_set
        self.batch_size = batch_size
        self._sampler = Sampler(model, settings, batch_size=batch_size)

    def prompt(self, spec: ImageSpec) -> Prompt:
        """Return the prompt of an image; PromptError if it is too long for the text encoder."""
        return fill_template(
            spec.template,
            spec.categories,
            self.model.tokenizer,
            max_tokens=self.model.max_tokens,
        )

    @torch.inference_mode()
    def synthesize_batch(self, specs: Sequence[ImageSpec]) -> list[SyntheticImage]:
        """Return at most `batch_size` images with their masks.

        Raises:
            SettingsError: layers or heads that the model does not have.
            PromptError: a prompt that is too long for the text encoder.
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
