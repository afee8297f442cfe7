"""`Segmenter`: from images and their categories to masks, in Python and in `iseg generate`."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from iseg_cli.attention.map_extractor import MapExtractor
from iseg_cli.backbones.loading import DiffusionModel, choose_device, choose_dtype, load_model
from iseg_cli.backbones.matching import usual_settings
from iseg_cli.backbones.transfers import HostCopies, to_device
from iseg_cli.clip.dense_clip import DenseClip
from iseg_cli.clip.loading import ClipModel, load_clip
from iseg_cli.clip.tagger import background_prompts
from iseg_cli.config import Settings
from iseg_cli.config.schema import Resize
from iseg_cli.errors import ImageError, ModelNotFoundError, SettingsError
from iseg_cli.ops.maps import ClipMaps
from iseg_cli.readers.decoding import load_image
from iseg_cli.readers.folder import label_set_of
from iseg_cli.readers.middle_square import middle_square
from iseg_cli.segmentation.batch_segmenter import Pending, Segmentation
from iseg_cli.segmentation.category_maps import assign_labels, category_maps
from iseg_cli.types import IGNORE, Category, LabelSet, Mask


class Segmenter:
    """Segments images with a diffusion model and one group of settings.

    Example:
        >>> segmenter = Segmenter.from_pretrained("sd2.1-base")
        >>> mask = segmenter.segment("dog.jpg", categories=["dog", "sofa"])
        >>> (mask.labels == 1).mean()  # the share of the image that is dog
    """

    needs_categories = True

    def __init__(
        self,
        model: DiffusionModel,
        settings: Settings,
        *,
        background_words: Sequence[str] = (),
        batch_size: int = 1,
        clip: ClipModel | None = None,
    ) -> None:
        """Prepare the model. If the settings ask for fusion and no `clip` is given, load theirs.

        Raises:
            ModelNotFoundError: the CLIP cannot be found.
        """
        words = settings.prompt.background_words
        self.model = model
        self.settings = settings
        self.batch_size = batch_size
        self.extractor = MapExtractor(
            model,
            settings,
            background_words=background_words if words is None else words,
            batch_size=batch_size,
        )
        self._dense = None
        if settings.fusion == "clip-entropy":
            if clip is None:
                own = choose_dtype(settings.clip.dtype, model.device)
                clip = load_clip(settings.clip.model, device=model.device, dtype=own)
            self._dense = DenseClip(clip, settings.clip, batch_size=batch_size)

    @classmethod
    def from_pretrained(
        cls,
        model: str = "sd2.1-base",
        *,
        settings: Settings | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> "Segmenter":
        """Return a segmenter with a model given by name, hub id or folder.

        Args:
            model: `tiny`, `sd2.1-base`, a hub id or a folder in diffusers format.
            settings: None for those of the model's usual preset: `emoji-voc` for tiny, else `voc`.
                All heads are read if the model's heads are not those of Stable Diffusion 2.1.
            device: `auto`, `cpu`, `cuda`, `cuda:1` ...
            dtype: `auto`, `float32`, `float16` or `bfloat16`.

        Raises:
            ModelNotFoundError: the model cannot be found.
            SettingsError: there is no such device.
        """
        chosen = choose_device(device)
        settings = settings or usual_settings(model)
        own = choose_dtype(dtype, chosen)
        return cls(load_model(model, device=chosen, dtype=own, vae=settings.vae), settings)

    def segment(
        self,
        image: UInt8[np.ndarray, "height width 3"] | str | Path,
        *,
        categories: Sequence[str],
    ) -> Mask:
        """Return the mask of one image.

        Args:
            image: RGB, 0 to 255, or the path of an image file.
            categories: the categories in the image, in words; the c-th has label c, counted from 1.

        Returns:
            A mask of the image's size, or of the model's size with `crop: center`; 0 is background.

        Raises:
            ImageError: the file cannot be decoded, or the array is no RGB image.
            PromptError: a category is too long for the text encoder.
            ModelNotFoundError: the model gives NaN.
        """
        pixels = load_image(Path(image)) if isinstance(image, str | Path) else image
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ImageError(
                f"an array of shape {pixels.shape} and type {pixels.dtype} is no image; pass RGB, "
                "shape (height, width, 3) and type uint8"
            )
        label_set = label_set_of(categories)
        prepared, size = fit_input(pixels, self.settings, self.model.image_size)
        categories_of = [label_set.categories]
        result = self.segment_batch(prepared[None], categories_of, [size], label_set)[0]
        if result.fault is not None:
            raise ModelNotFoundError(f"{self.model.name} cannot be used: {result.fault}")
        return result.mask

    def check(self, categories: Sequence[Category]) -> None:
        """Raise PromptError for categories that are too long for a text encoder."""
        self.extractor.prompts(categories)
        if self._dense is not None:
            self._dense.check(category.prompt for category in categories)

    def prefetch_texts(self, categories: Sequence[Sequence[Category]]) -> None:
        """Note the categories of the next images, so that their texts are embedded together."""
        self.extractor.prefetch_texts(categories)

    def segment_batch(
        self,
        images: UInt8[np.ndarray, "batch side side 3"],
        categories: Sequence[Sequence[Category]],
        sizes: Sequence[tuple[int, int]],
        label_set: LabelSet,
    ) -> list[Segmentation]:
        """Return the segmentations of at most `batch_size` images, each with its own categories.

        Args:
            images: RGB at the model's size, as `fit_image` returns them.
            categories: the categories present in each image.
            sizes: the original (height, width) of each image; its mask has this size.
            label_set: the label set of the masks.
        """
        return self.begin_batch(images, categories, sizes, label_set)()

    @torch.inference_mode()
    def begin_batch(
        self,
        images: UInt8[np.ndarray, "batch side side 3"],
        categories: Sequence[Sequence[Category]],
        sizes: Sequence[tuple[int, int]],
        label_set: LabelSet,
    ) -> Pending:
        """Begin to segment a batch, as `segment_batch`; the result, when called, waits for it."""
        attention = self.extractor.extract(images, categories)
        maps = category_maps(attention, self.settings)
        clip = self._clip_maps(images, categories, label_set)
        assigned = assign_labels(maps, attention.valid, sizes, self.settings, clip)
        grids = [own[: len(named)] for own, named in zip(maps.scores, categories, strict=True)]
        if clip is not None:
            sides = [(attention.side, attention.side)] * len(images)
            fused = assign_labels(maps, attention.valid, sides, self.settings, clip)
            grids = [scores for _, scores in fused]
        values = torch.from_numpy(np.stack([label_values(own, label_set) for own in categories]))
        tables = to_device(values, self.model.device)
        masks = [table[label] for table, (label, _) in zip(tables, assigned, strict=True)]
        copies = HostCopies([*masks, *(grid.to(torch.float16) for grid in grids)])

        def finish() -> list[Segmentation]:
            arrays = copies.arrays()
            return [
                Segmentation(Mask(mask), scores, tuple(category.id for category in own))
                for mask, scores, own in zip(
                    arrays[: len(masks)], arrays[len(masks) :], categories, strict=True
                )
            ]

        return finish

    def _clip_maps(
        self,
        images: UInt8[np.ndarray, "batch side side 3"],
        categories: Sequence[Sequence[Category]],
        label_set: LabelSet,
    ) -> ClipMaps | None:
        """Return CLIP's maps of the images; None without fusion."""
        if self._dense is None:
            return None
        surroundings: tuple[str, ...] = ()
        if self.settings.assign.background != "none":
            surroundings = background_prompts(self.settings.clip, label_set)
            if not surroundings:
                raise SettingsError(
                    "fusion with CLIP needs words for the background; name words that are no "
                    "category in clip.background_prompts, or set assign.background to none"
                )
        words = [[category.prompt for category in own] for own in categories]
        return self._dense.match(images, words, surroundings)


def label_values(categories: Sequence[Category], label_set: LabelSet) -> UInt8[np.ndarray, "256"]:
    """Return the table from assigned labels (0, c + 1, 255) to the labels of a label set."""
    table = np.full(256, IGNORE, dtype=np.uint8)
    if label_set.background is not None:
        table[0] = label_set.background
    table[1 : len(categories) + 1] = [category.id for category in categories]
    return table


def fit_input(
    image: UInt8[np.ndarray, "height width 3"], settings: Settings, side: int
) -> tuple[UInt8[np.ndarray, "side side 3"], tuple[int, int]]:
    """Return the model's square input for an image, and the (height, width) of its mask."""
    if settings.crop == "center":
        return fit_image(middle_square(image), side, resize=settings.resize), (side, side)
    return fit_image(image, side, resize=settings.resize), (image.shape[0], image.shape[1])


def fit_image(
    image: UInt8[np.ndarray, "height width 3"], side: int, *, resize: Resize = "pillow"
) -> UInt8[np.ndarray, "side side 3"]:
    """Return an image resized bilinearly to the model's square size.

    Args:
        image: RGB.
        side: the side of the square, in pixels.
        resize: `pillow` averages over areas when it shrinks; `opencv` always reads four pixels.
    """
    if resize == "opencv":
        return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR))
    resized = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    return np.array(resized)  # a copy, because PyTorch warns of Pillow's read-only memory
