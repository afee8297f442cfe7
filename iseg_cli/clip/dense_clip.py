"""`DenseClip`: CLIP's dense maps, the cosines of an image's patches with words."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from iseg_cli.clip.loading import ClipModel
from iseg_cli.clip.text_embedder import ClipTextEmbedder
from iseg_cli.clip.vision import (
    embed_tokens,
    fill_batch,
    fit_patches,
    join_heads,
    pass_block,
    project_heads,
    to_pixels,
    to_text_space,
    vision_blocks,
)
from iseg_cli.config.schema import ClipSettings
from iseg_cli.ops.fuse import cosines
from iseg_cli.ops.maps import ClipMaps
from iseg_cli.ops.self_self import self_self_attention


class DenseClip:
    """Compares every patch of images with words, with one CLIP and one group of settings.

    The maps of an image depend only on the image, its words, the settings and the batch size:
    batches are filled up to one size, and on a CPU images are taken one at a time (see `Tagger`).
    """

    def __init__(self, clip: ClipModel, settings: ClipSettings, *, batch_size: int = 1) -> None:
        self.clip, self.settings = clip, settings
        self._together = 1 if clip.device.type == "cpu" else batch_size
        self._texts = ClipTextEmbedder(clip, settings.templates)

    def check(self, words: Iterable[str]) -> None:
        """Raise PromptError for words that are too long for the text encoder."""
        self._texts.embed(list(words))

    @torch.inference_mode()
    def match(
        self,
        images: UInt8[np.ndarray, "batch side side 3"],
        words: Sequence[Sequence[str]],
        surroundings: Sequence[str],
    ) -> ClipMaps:
        """Return the cosines of the patches of square images with words.

        Args:
            images: RGB; they are resized to whole patches, or to `clip.side`.
            words: for each image the words of its categories.
            surroundings: the background prompts; none where the background is no class.

        Raises:
            PromptError: words are too long for the text encoder.
        """
        shown = [
            fit_patches(
                image,
                patch=self.clip.patch_size,
                side=self.settings.side,
                max_side=self.settings.max_side,
            )
            for image in images
        ]
        background = self._texts.embed(surroundings)
        features = self._features(np.stack(shown))
        # One image at a time: products over different numbers of words are rounded differently.
        near = tuple(
            cosines(own, self._texts.embed(named), background)
            for own, named in zip(features, words, strict=True)
        )
        return ClipMaps(near, self.clip.scale)

    def _features(
        self, images: UInt8[np.ndarray, "batch side side 3"]
    ) -> Float[Tensor, "batch patches channels"]:
        size = self._together
        return torch.cat(
            [
                dense_features(self.clip, to_pixels(self.clip, fill_batch(some, size).numpy()))[
                    : len(some)
                ]
                for some in torch.from_numpy(images).split(size)
            ]
        )


@torch.inference_mode()
def dense_features(
    clip: ClipModel, pixels: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch patches channels"]:
    """Return each patch's embedding in the space of texts, not scaled to unit length, in float32.

    In the last block tokens attend to similar tokens. Its output is this attention alone, without
    the residual and without the MLP, which serve the class token (ClearCLIP, arXiv 2407.12442).

    Args:
        clip: the model.
        pixels: as `to_pixels` returns them; their sides are whole numbers of patches.
    """
    hidden = embed_tokens(clip, pixels)
    *before, last = vision_blocks(clip)
    for block in before:
        hidden = pass_block(block, hidden)
    query, key, value = project_heads(last, hidden)
    mixed = self_self_attention(query, key, value, scale=last.self_attn.scale)
    return to_text_space(clip, join_heads(last, mixed)[:, 1:])
