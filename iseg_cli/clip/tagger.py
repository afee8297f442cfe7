"""`Tagger`: from images to the classes in them, with TagCLIP; the settings choose the steps."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from iseg_cli.clip.loading import ClipModel
from iseg_cli.clip.text_embedder import BACKGROUND, ClipTextEmbedder
from iseg_cli.clip.vision import fill_batch, fit_patches, read_patches, read_whole, to_pixels
from iseg_cli.config.schema import ClipSettings
from iseg_cli.errors import SettingsError
from iseg_cli.ops import tagclip
from iseg_cli.types import Category, LabelSet

DECIMALS = 6
"""Scores are rounded to this number of decimals; so files hold exactly the values that decide."""

Picture = UInt8[np.ndarray, "height width 3"]
Shown = tuple[Picture, ...]
"""An image, resized to every scale of the settings."""


class Tagger:
    """Finds classes in images with one CLIP, one group of settings and one label set.

    An image's scores depend only on the image, the settings and the batch size. Images of one
    common size are taken in batches of one shape (short batches are filled up); images of different
    sizes are taken one at a time. On a CPU all images and crops are taken one at a time: their
    numbers of tokens are odd, so the rounding of sums would depend on the position in a batch.

    Attributes:
        name: the label source, as the protocol of a run names it.
        categories: the classes, sorted by id.
        background: the background prompts that share the softmax.
    """

    name = "clip"

    def __init__(
        self, clip: ClipModel, settings: ClipSettings, label_set: LabelSet, *, batch_size: int = 1
    ) -> None:
        """Embed the classes and the background prompts.

        Raises:
            SettingsError: the label set is empty, or this CLIP lacks a block of the settings.
            PromptError: words are too long for the text encoder.
        """
        if not label_set.categories:
            raise SettingsError("CLIP needs categories to look for; pass --categories")
        self.clip, self.settings, self.batch_size = clip, settings, batch_size
        self._together = 1 if clip.device.type == "cpu" else batch_size
        self.categories = label_set.categories
        self.background = background_prompts(settings, label_set)
        words = [category.prompt for category in self.categories]
        texts = ClipTextEmbedder(clip, settings.templates)
        self._texts = texts.embed([*words, *self.background])
        self._blocks = _averaged_blocks(settings, clip.blocks)
        wanted = settings.min_agreeing_blocks
        self._min_agreeing_blocks = max(1, clip.blocks // 3) if wanted is None else wanted

    def fit(self, image: Picture) -> Shown:
        """Return an image resized bicubically to whole patches, at every scale."""
        return tuple(
            fit_patches(
                image,
                patch=self.clip.patch_size,
                side=self.settings.side,
                max_side=self.settings.max_side,
                scale=scale,
            )
            for scale in self.settings.scales
        )

    @torch.inference_mode()
    def score(self, images: Sequence[Shown]) -> Float32[np.ndarray, "images classes"]:
        """Return the score of every class in every image, rounded to `DECIMALS` decimals.

        Scores lie in [0, 1], or from 0 to the sum of `patch_weight` and `crop_weight` if that is
        more. The score of an image is the mean over its scales.

        Args:
            images: as `fit` returns them.

        Raises:
            SettingsError: a batch does not fit into memory.
        """
        if not images:
            return np.zeros((0, len(self.categories)), dtype=np.float32)
        try:
            by_scale = [self._score_scale(pictures) for pictures in zip(*images, strict=True)]
        except torch.OutOfMemoryError:
            raise SettingsError(
                f"CLIP's {self._together} images or crops at a time do not fit into the memory of "
                f"{self.clip.device}; pass a smaller --batch-size or --set clip.max_side=480"
            ) from None
        scores: Float32[np.ndarray, "images classes"] = np.stack(by_scale).mean(axis=0)
        return scores.round(DECIMALS)

    def choose(self, scores: Float32[np.ndarray, "images classes"]) -> list[tuple[Category, ...]]:
        """Return the classes in each image, sorted as in the label set."""
        found = tagclip.choose(
            torch.from_numpy(scores),
            threshold=self.settings.threshold,
            min_score=self.settings.min_score,
        )
        return [
            tuple(c for c, there in zip(self.categories, row, strict=True) if there)
            for row in found.tolist()
        ]

    def tag(self, images: Sequence[Shown]) -> list[tuple[Category, ...]]:
        """Return the classes in each image, given as `fit` returns them."""
        return self.choose(self.score(images))

    def _score_scale(self, pictures: Sequence[Picture]) -> Float32[np.ndarray, "images classes"]:
        """Return the scores of images at one of their scales."""
        together = 1 if self.settings.side is None else self._together
        scores = [
            self._score_batch(np.stack(pictures[start : start + together]), together)
            for start in range(0, len(pictures), together)
        ]
        return np.concatenate(scores)

    def _score_batch(
        self, images: UInt8[np.ndarray, "batch height width 3"], size: int
    ) -> Float32[np.ndarray, "batch classes"]:
        """Return the scores of a batch of images of one size, filled up to `size` images."""
        count, named = len(images), len(self.categories)
        pixels = to_pixels(self.clip, fill_batch(torch.from_numpy(images), size).numpy())
        rows = pixels.shape[2] // self.clip.patch_size
        maps = self._patch_scores(pixels, rows)[:count]
        scores = maps[..., :named].amax(dim=1)
        if self.settings.reidentify:
            has_crop = tagclip.candidates(
                maps, named=named, share=self.settings.candidate_threshold
            )
            crop_scores = self._crop_scores(pixels, maps[..., :named], has_crop, rows)
            scores = tagclip.combine(
                scores,
                crop_scores,
                has_crop,
                patch_weight=self.settings.patch_weight,
                crop_weight=self.settings.crop_weight,
            )
        return scores.cpu().numpy()

    def _patch_scores(self, pixels: Tensor, rows: int) -> Float[Tensor, "batch patches words"]:
        """Return each patch's scores of classes and background prompts, refined if set so."""
        alone = self.settings.last_block == "values"
        output = read_patches(self.clip, pixels, values_alone=alone)
        coarse = tagclip.class_probabilities(output.features, self._texts, scale=self.clip.scale)
        if not self.settings.refine:
            return coarse
        trusted = tagclip.trusted_attention(
            output.attention, averaged=self._blocks, min_agreeing_blocks=self._min_agreeing_blocks
        )
        return tagclip.refine_scores(coarse, trusted, rows=rows)

    def _crop_scores(
        self,
        pixels: Float[Tensor, "batch 3 height width"],
        maps: Float[Tensor, "batch patches classes"],
        has_crop: Bool[Tensor, "batch classes"],
        rows: int,
    ) -> Float[Tensor, "batch classes"]:
        """Return the probability of each class in its own crop; 0 for classes without a crop.

        In the crop the class token attends only to the patches where the class responds.
        """
        responds, boxes = tagclip.response_boxes(maps, rows=rows)
        responds = responds.unflatten(1, (rows, -1))
        crop_scores = torch.zeros_like(has_crop, dtype=maps.dtype)
        pairs = has_crop.nonzero()
        for start in range(0, len(pairs), self._together):
            image, category = chunk = pairs[start : start + self._together].T
            cut = [self._crop(pixels[i], responds[i, ..., c], boxes[i, c]) for i, c in chunk.T]
            crops, visible = (
                fill_batch(torch.stack(x), self._together) for x in zip(*cut, strict=True)
            )
            points = read_whole(self.clip, crops, visible)[: len(cut), None]
            found = tagclip.class_probabilities(points, self._texts, scale=self.clip.scale)[:, 0]
            crop_scores[image, category] = found.gather(1, category[:, None])[:, 0]
        return crop_scores

    def _crop(
        self, pixels: Tensor, responds: Tensor, box: Tensor
    ) -> tuple[Float[Tensor, "3 side side"], Bool[Tensor, " patches"]]:
        """Return the crop of a box at CLIP's size, and its patches where the class responds."""
        top, left, bottom, right = box.tolist()
        patch, side = self.clip.patch_size, self.clip.image_size
        cut = pixels[:, top * patch : bottom * patch, left * patch : right * patch]
        crop = interpolate(cut[None], size=(side, side), mode="bilinear", align_corners=False)[0]
        where = responds[top:bottom, left:right].float()[None, None]
        return crop, interpolate(where, size=(side // patch,) * 2).flatten() > 0


def background_prompts(settings: ClipSettings, label_set: LabelSet) -> tuple[str, ...]:
    """Return the background prompts; those that name a class only if the settings keep them."""
    words = settings.background_prompts
    if words is None:
        words = label_set.background_words or BACKGROUND
    if settings.keep_named:
        return tuple(words)
    named = {word.lower() for c in label_set.categories for word in (c.name, c.prompt, c.focus)}
    return tuple(word for word in words if word.lower() not in named)


def _averaged_blocks(settings: ClipSettings, blocks: int) -> tuple[int, ...]:
    if settings.attention_blocks is None:
        return tuple(range(2 * blocks // 3, blocks - 1)) or (max(blocks - 2, 0),)
    chosen = settings.attention_blocks
    if not chosen or max(chosen) >= blocks:
        raise SettingsError(
            f"clip.attention_blocks is {list(chosen)}, but this CLIP has blocks 0 to {blocks - 1}"
        )
    return chosen
