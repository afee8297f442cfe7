"""`Sampler`: generates images and reads their attention; DDIM with classifier-free guidance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDIMScheduler
from jaxtyping import UInt8
from torch import Tensor

from iseg_cli.attention.attention_extractor import AttentionExtractor, AttentionOutput
from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.backbones.prompts import Prompt
from iseg_cli.config import Settings
from iseg_cli.errors import SettingsError
from iseg_cli.ops.maps import AttentionMaps

NOTHING = Prompt("", (), ())
"""The empty prompt, from which classifier-free guidance leads away."""


@dataclass(frozen=True, eq=False)
class SampledImages:
    """Generated images and the attention of their generation.

    Attributes:
        images: RGB, 0 to 255.
        finite: which images consist of finite values; half precision may overflow.
        attention: the mean over the steps that were read, with a column for each category.
    """

    images: UInt8[np.ndarray, "batch side side 3"]
    finite: tuple[bool, ...]
    attention: AttentionMaps


class Sampler:
    """Generates images batch after batch, with one model and one group of settings.

    An image depends only on its prompt, its seed, the settings and the batch size: its noise is
    drawn on the CPU from its seed, and short batches are filled up. Cat-Cross changes only the
    attention that is read, so gamma changes no image. The choice of steps to read changes none.
    """

    def __init__(self, model: DiffusionModel, settings: Settings, *, batch_size: int = 1) -> None:
        if not hasattr(model.vae, "decoder"):
            raise ValueError("the model was loaded without its decoder")
        self.model = model
        self.settings = settings
        self.batch_size = batch_size
        self._extractor = AttentionExtractor(model, settings, to_end=True)
        self._scheduler = _scheduler(model, settings.synthesis.steps)
        self._steps_read = steps_read(
            settings.synthesis.steps,
            first=settings.synthesis.read_from,
            last=settings.synthesis.read_to,
        )

    @torch.inference_mode()
    def draw(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> SampledImages:
        """Return an image for each prompt, for at most `batch_size` prompts.

        Args:
            prompts: each with all of its image's categories, as `fill_template` writes them.
            seeds: one for each image's noise.

        Raises:
            SettingsError: the model lacks a layer or head of the settings.
        """
        count, missing = len(prompts), self.batch_size - len(prompts)
        filled = [*prompts, *[prompts[-1]] * missing]
        latents = torch.cat([self._noise(seed) for seed in [*seeds, *[seeds[-1]] * missing]])
        latents = latents.to(self.model.device) * self._scheduler.init_noise_sigma
        total: AttentionOutput | None = None
        for step, timestep in enumerate(self._scheduler.timesteps):
            prediction, attention = self._predict(
                latents, timestep, filled, read=step in self._steps_read
            )
            total = _add(total, attention)
            latents = self._scheduler.step(prediction, timestep, latents).prev_sample
        if total is None:
            raise RuntimeError("no step was read")  # steps_read is never empty
        images, finite = self._decode(latents[:count])
        return SampledImages(images, finite, self._average(total, prompts))

    def _noise(self, seed: int) -> Tensor:
        """Return the noise of an image, Float[1 channels side side], the same on every device."""
        side = self.model.latent_side
        shape = (1, self.model.unet.config.in_channels, side, side)
        return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))

    def _predict(
        self, latents: Tensor, timestep: Tensor, prompts: Sequence[Prompt], *, read: bool
    ) -> tuple[Tensor, AttentionOutput | None]:
        """Return the guided prediction in float32, and the attention of the conditional forward."""
        inputs = self._scheduler.scale_model_input(latents, timestep).to(self.model.dtype)
        timestep = timestep.to(latents.device)
        attention = self._extractor.read(inputs, timestep, prompts) if read else None
        output = attention.output if attention is not None else None
        if output is not None and self.settings.cat_cross.gamma == 1:
            conditional = output.float()  # without Cat-Cross one forward serves both
        else:
            conditional = self._forward(inputs, timestep, prompts)
        guidance = self.settings.synthesis.guidance
        if guidance == 1:
            return conditional, attention
        unconditional = self._forward(inputs, timestep, [NOTHING] * len(prompts))
        return unconditional + guidance * (conditional - unconditional), attention

    def _forward(self, inputs: Tensor, timestep: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        text = self._extractor.embeddings(prompts)
        output: Tensor = self.model.unet(inputs, timestep, encoder_hidden_states=text).sample
        return output.float()

    def _decode(self, latents: Tensor) -> tuple[np.ndarray, tuple[bool, ...]]:
        """Return the images and which are finite; decoded one at a time to save memory."""
        images, finite = [], []
        for latent in latents.split(1):
            scaled = (latent / self.model.vae.config.scaling_factor).to(self.model.dtype)
            decoded = self.model.vae.decode(scaled).sample[0].float()
            finite.append(bool(decoded.isfinite().all()))
            pixels = decoded.nan_to_num().add(1).mul(127.5).round().clamp(0, 255)
            images.append(pixels.permute(1, 2, 0).to("cpu", torch.uint8).numpy())
        return np.stack(images), tuple(finite)

    def _average(self, total: AttentionOutput, prompts: Sequence[Prompt]) -> AttentionMaps:
        """Return the mean over the steps read, without the rows of padding."""
        count, steps = len(prompts), len(self._steps_read)
        widest = max(len(prompt.columns) for prompt in prompts)
        return AttentionMaps(
            cross=total.cross[:count, :, :widest] / steps,
            self_attention=total.self_attention[:count] / steps,
            side=total.side,
            valid=torch.tensor(
                [[column < len(prompt.columns) for column in range(widest)] for prompt in prompts]
            ),
        )


def steps_read(steps: int, *, first: float, last: float) -> frozenset[int]:
    """Return the steps, counted from 0, whose middle lies between two shares of the sampling.

    Example:
        >>> sorted(steps_read(4, first=0.5, last=1.0))
        [2, 3]

    Args:
        steps: the number of steps.
        first: a share of them, 0 to 1; 0 is pure noise.
        last: a share, at least `first`; 1 is the finished image.

    Raises:
        SettingsError: no step lies between both.
    """
    chosen = frozenset(step for step in range(steps) if first <= (step + 0.5) / steps <= last)
    if not chosen:
        raise SettingsError(
            f"none of {steps} steps lies between synthesis.read_from {first:g} and "
            f"synthesis.read_to {last:g}; move them apart or raise synthesis.steps"
        )
    return chosen


def _scheduler(model: DiffusionModel, steps: int) -> DDIMScheduler:
    """Return a scheduler for the sampler, with the model's noise levels and kind of prediction."""
    known = model.scheduler.config.num_train_timesteps
    # Latents have no bounds. A scheduler without this entry would clip them to [-1, 1].
    scheduler = DDIMScheduler.from_config(model.scheduler.config, clip_sample=False)
    if steps > known:
        raise SettingsError(f"synthesis.steps is {steps}, but this model has {known} timesteps")
    scheduler.set_timesteps(steps)
    if scheduler.timesteps.max() >= known:
        raise SettingsError(
            f"synthesis.steps is {steps}, but the first of these steps would be after the last of "
            f"this model's {known} timesteps; take fewer"
        )
    return scheduler


def _add(total: AttentionOutput | None, other: AttentionOutput | None) -> AttentionOutput | None:
    """Return the sum of both, computed in place because self-attention is large."""
    if total is None or other is None:
        return total or other
    total.cross.add_(other.cross)
    total.self_attention.add_(other.self_attention)
    return total
