"""`MapExtractor`: from a batch of images and their categories to AttentionMaps."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from iseg_cli.attention.attention_extractor import AttentionExtractor
from iseg_cli.backbones.latents import add_noise, check_timestep, draw_noise, encode
from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.backbones.prompts import Prompt, build_prompts
from iseg_cli.backbones.texts import TEXTS_KEPT
from iseg_cli.backbones.transfers import to_device
from iseg_cli.config import Settings
from iseg_cli.ops.aggregate import join_prompts
from iseg_cli.ops.maps import AttentionMaps
from iseg_cli.types import Category


@dataclass(frozen=True)
class _Row:
    """One row of a batch of the UNet: an image with one of its prompts."""

    image: int
    prompt: Prompt


class MapExtractor:
    """Returns the attention maps of batches of images, with one model and one group of settings.

    An image's maps depend only on the image, its categories, the settings, the seed and the batch
    size: every forward has the same shape (short batches are filled up), and every image gets the
    same noise. With one thread, or threads that each take whole images, this holds to the last bit.
    Otherwise an image's position in its batch may change the rounding (a share of about 1e-6).
    """

    def __init__(
        self,
        model: DiffusionModel,
        settings: Settings,
        *,
        background_words: Sequence[str] = (),
        batch_size: int = 1,
    ) -> None:
        self.model = model
        self.settings = settings
        self.background_words = tuple(background_words)
        self.batch_size = batch_size
        check_timestep(model, settings.capture.timestep, setting="capture.timestep")
        self._timestep = torch.tensor([settings.capture.timestep], device=model.device)
        self._noise = draw_noise(model, seed=settings.seed)
        self._attention = AttentionExtractor(model, settings)
        if settings.compile:
            model.vae.encoder.compile()
        self._prompts = lru_cache(maxsize=TEXTS_KEPT)(self._build_prompts)

    def prompts(self, categories: Sequence[Category]) -> tuple[Prompt, ...]:
        """Return the prompts of an image with these categories.

        Raises:
            PromptError: a category is too long for the text encoder.
        """
        return self._prompts(tuple(categories))

    @torch.inference_mode()
    def extract(
        self,
        images: UInt8[np.ndarray, "batch height width 3"],
        categories: Sequence[Sequence[Category]],
    ) -> AttentionMaps:
        """Return the attention maps of a batch.

        Args:
            images: RGB at the model's size (`model.image_size` squared), at most `batch_size`.
            categories: the categories to segment in each image; none for an image of background.

        Returns:
            The maps of these images on the model's device, in float32. There are as many columns as
            the image with most categories has.

        Raises:
            SettingsError: the model lacks a head of the settings.
            PromptError: a category is too long for the text encoder.
        """
        return self.attend(self.encode(images), categories)

    @torch.inference_mode()
    def encode(
        self, images: UInt8[np.ndarray, "batch height width 3"]
    ) -> Float[Tensor, "filled channels side side"]:
        """Return the latents of a batch, filled up to the batch size with the last image's."""
        return encode(self.model, images, batch_size=self.batch_size)

    @torch.inference_mode()
    def attend(
        self,
        latents: Float[Tensor, "filled channels side side"],
        categories: Sequence[Sequence[Category]],
    ) -> AttentionMaps:
        """Return the attention maps of a batch, given its latents: `extract` without `encode`.

        Args:
            latents: as `encode` returns them.
            categories: the categories to segment in each image.
        """
        count = len(categories)
        rows = [
            _Row(image, prompt)
            for image in range(count)
            for prompt in self.prompts(categories[image])
        ]
        self.prefetch_texts(categories)
        noisy = add_noise(self.model, latents, self._noise, self._timestep)
        crosses: list[Tensor] = []
        owns: list[Tensor] = []
        for start in range(0, len(rows), self.batch_size):
            group = rows[start : start + self.batch_size]
            # The group is filled up, so that every forward has the same shape.
            filled = [*group, *[group[-1]] * (self.batch_size - len(group))]
            output = self._attention.read(
                _take(noisy, [row.image for row in filled]),
                self._timestep,
                [row.prompt for row in filled],
            )
            crosses.append(output.cross[: len(group)])
            owns.append(output.self_attention[: len(group)])
        widest = max((len(c) for c in categories), default=0)
        self_attention = _average(owns, [row.image for row in rows], count)
        return AttentionMaps(
            cross=_join(torch.cat(crosses), rows, count, widest),
            self_attention=self_attention,
            side=math.isqrt(self_attention.shape[-1]),
            valid=torch.tensor(
                [[column < len(c) for column in range(widest)] for c in categories],
                dtype=torch.bool,
            ).reshape(count, widest),
        )

    def prefetch_texts(self, categories: Iterable[Sequence[Category]]) -> None:
        """Note the categories of the next images, so that their texts are embedded together."""
        prompts = (prompt for own in categories for prompt in self.prompts(own))
        self._attention.embed.prefetch_texts(prompt.text for prompt in prompts)

    def _build_prompts(self, categories: tuple[Category, ...]) -> tuple[Prompt, ...]:
        return build_prompts(
            categories,
            self.model.tokenizer,
            background_words=self.background_words,
            background_prefix=self.settings.prompt.background_prefix,
            background_suffix=self.settings.prompt.background_suffix,
            max_tokens=self.model.max_tokens,
        )


def _take(latents: Tensor, images: list[int]) -> Tensor:
    """Return the latents of some images, without a copy if these are all images in sequence."""
    if images == list(range(len(latents))):
        return latents
    return latents[to_device(torch.tensor(images), latents.device)]


def _join(maps: Tensor, rows: Sequence[_Row], count: int, widest: int) -> Tensor:
    """Return the maps with each prompt's slots in the columns of its image."""
    if len(rows) == count:
        return maps[:, :, :widest]  # one prompt each: its slots are the columns
    columns = torch.full((len(rows), maps.shape[2]), -1)
    for index, row in enumerate(rows):
        columns[index, : len(row.prompt.columns)] = torch.tensor(
            row.prompt.columns, dtype=torch.int64
        )
    images = torch.tensor([row.image for row in rows])
    device = maps.device
    return join_prompts(maps, images.to(device), columns.to(device), batch=count, categories=widest)


def _average(owns: Sequence[Tensor], images: Sequence[int], count: int) -> Tensor:
    """Return each image's mean over its prompts, Float[count pixels pixels].

    Usually every image has one prompt; then nothing is copied, because this tensor is large.
    """
    if len(owns) == 1 and len(images) == count:
        return owns[0]
    rows = [own for group in owns for own in group]
    mean: Tensor = rows[0].new_zeros(count, *rows[0].shape)
    for image, own in zip(images, rows, strict=True):
        mean[image] += own / images.count(image)
    return mean
