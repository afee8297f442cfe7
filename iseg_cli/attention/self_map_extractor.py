"""`SelfMapExtractor`: from a batch of images to SelfMaps, without a prompt."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from iseg_cli.attention.self_capture import CapturedSelf, RefiningLayer, capture_self
from iseg_cli.backbones.latents import add_noise, check_timestep, draw_noise, encode
from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.backbones.texts import TextEmbedder
from iseg_cli.config import Settings
from iseg_cli.errors import SettingsError
from iseg_cli.ops.diffseg import merge_resolutions
from iseg_cli.ops.maps import SelfMaps


class SelfMapExtractor:
    """Returns the self-attention of batches of images, with one model and one group of settings.

    It runs one forward at `diffseg.timestep` with an empty prompt. If segments are refined at
    another timestep, `capture.timestep`, it runs a second forward there. As in `MapExtractor`,
    every forward has the same shape and every image the same noise.
    """

    def __init__(self, model: DiffusionModel, settings: Settings, *, batch_size: int = 1) -> None:
        self.model = model
        self.settings = settings
        self.batch_size = batch_size
        check_timestep(model, settings.diffseg.timestep, setting="diffseg.timestep")
        check_timestep(model, settings.capture.timestep, setting="capture.timestep")
        self._noise = draw_noise(model, seed=settings.seed)
        self._refining = None
        if settings.refine.mode != "none":
            capture = settings.capture
            self._refining = RefiningLayer(capture.self_layer, capture.self_heads)
        self._embed = TextEmbedder(model)

    @torch.inference_mode()
    def extract(self, images: UInt8[np.ndarray, "batch height width 3"]) -> SelfMaps:
        """Return the self-attention of a batch.

        Args:
            images: RGB at the model's size (`model.image_size` squared), at most `batch_size`.

        Returns:
            The maps of these images on the model's device, in float32.

        Raises:
            SettingsError: the model lacks the refining layer or one of its heads.
        """
        count = len(images)
        latents = encode(self.model, images, batch_size=self.batch_size)
        side = latents.shape[-1]
        steps = self.settings.diffseg.timestep, self.settings.capture.timestep
        is_shared = steps[0] == steps[1]
        first = self._forward(latents, steps[0], True, self._refining if is_shared else None)
        # Sums over layers replace means: `merge_resolutions` divides every row by its sum.
        merged = merge_resolutions([one[:count] for one in first.finest_first()], side=side)
        refining = first.refining
        if self._refining is not None and not is_shared:
            del first
            refining = self._forward(latents, steps[1], False, self._refining).refining
        if self._refining is not None and refining is None:
            raise SettingsError("capture.self_layer is not part of this model's forward")
        return SelfMaps(merged, None if refining is None else refining[:count], side)

    def _forward(
        self, latents: Tensor, step: int, every_layer: bool, refining: RefiningLayer | None
    ) -> CapturedSelf:
        timestep = torch.tensor([step], device=latents.device)
        noisy = latents.to(self.model.dtype)
        if self.settings.diffseg.noise:
            noisy = add_noise(self.model, latents, self._noise, timestep)
        empty = self._embed([""] * len(latents))
        with capture_self(
            self.model.unet, side=latents.shape[-1], every_layer=every_layer, refining=refining
        ) as captured:
            self.model.unet(noisy, timestep, encoder_hidden_states=empty)
        return captured
