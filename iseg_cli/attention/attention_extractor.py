"""`AttentionExtractor`: from noisy latents and prompts to the attention of one forward."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iseg_cli.attention.attention_capture import (
    AttentionCapture,
    CapturedAttention,
    CapturePlan,
    check_captured,
)
from iseg_cli.attention.truncation import truncate
from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.backbones.prompts import Prompt
from iseg_cli.backbones.texts import TextEmbedder
from iseg_cli.backbones.transfers import to_device
from iseg_cli.config import Settings
from iseg_cli.errors import SettingsError
from iseg_cli.ops.aggregate import fuse_resolutions, membership, tokens_to_categories
from iseg_cli.ops.cat_cross import enhance
from iseg_cli.ops.cluster import cluster_maps


@dataclass(frozen=True, eq=False)
class AttentionOutput:
    """The attention of one forward.

    Attributes:
        cross: the maps of each prompt's categories, by slot. There are as many slots as tokens,
            so that arithmetic has one shape for any number of categories.
        self_attention: how each position attends to all positions; rows sum to 1. Positions are
            those of the grid of `capture.self_layer`; `cross` has the same grid.
        output: the UNet's prediction, noise or velocity, in the UNet's type; None where the forward
            ended at the last attention that is read.
    """

    cross: Float[Tensor, "rows pixels tokens"]
    self_attention: Float[Tensor, "rows pixels pixels"]
    output: Float[Tensor, "rows channels side side"] | None

    @property
    def side(self) -> int:
        """The side of the grid of both: L, or less where `capture.self_layer` has a coarser one."""
        return math.isqrt(self.self_attention.shape[-1])


class AttentionExtractor:
    """Reads the attention that the settings' `capture` section names, one forward at a time.

    A forward ends at the last attention that is read, unless the UNet's prediction is wanted.
    """

    def __init__(self, model: DiffusionModel, settings: Settings, *, to_end: bool = False) -> None:
        """Prepare the processors and the UNet.

        Args:
            model: the diffusion model.
            settings: which attention is read, and how its maps are fused.
            to_end: whether forwards run to their end and return the UNet's prediction.

        Raises:
            SettingsError: the model lacks a layer of the settings.
        """
        self.model = model
        self.settings = settings
        self.embed = TextEmbedder(model)
        self._plan = CapturePlan(
            cross_layers=settings.capture.cross_layers,
            cross_weights=settings.capture.cross_weights,
            cross_heads=settings.capture.cross_heads,
            self_layer=settings.capture.self_layer,
            self_heads=settings.capture.self_heads,
        )
        self._capture = AttentionCapture(
            model.unet, self._plan, side=model.latent_side, to_end=to_end
        )
        self._to_end = to_end
        self._unet = model.unet
        if not to_end:
            self._unet = truncate(model.unet, self._plan.last)
            if settings.compile:
                self._unet.compile()

    def embeddings(self, prompts: Sequence[Prompt]) -> Float[Tensor, "rows tokens channels"]:
        """Return the embeddings of the prompts' texts; each text is embedded once."""
        return self.embed([prompt.text for prompt in prompts])

    def enhanced(self, prompts: Sequence[Prompt]) -> Float[Tensor, "rows tokens channels"]:
        """Return the embeddings, those of the categories' tokens times gamma (Cat-Cross, eq. 7)."""
        embeddings = self.embeddings(prompts)
        return enhance(
            embeddings, self._named(prompts, embeddings), gamma=self.settings.cat_cross.gamma
        )

    def read(self, latents: Tensor, timestep: Tensor, prompts: Sequence[Prompt]) -> AttentionOutput:
        """Return the attention of one forward of the UNet, with Cat-Cross.

        Args:
            latents: Float[rows channels side side] with the timestep's noise, in the model's type.
            timestep: Int[1] or Int[], on the latents' device.
            prompts: one for each row.

        Raises:
            SettingsError: the model lacks a layer or head of the settings.
        """
        embeddings, key_scale = self.embeddings(prompts), None
        if self.settings.cat_cross.apply == "embeddings":
            embeddings = self.enhanced(prompts)
        else:
            named = self._named(prompts, embeddings)
            key_scale = torch.where(named, self.settings.cat_cross.gamma, 1.0)
        side = latents.shape[-1]
        with self._capture.attached(key_scale) as captured:
            output = self._unet(latents, timestep, encoder_hidden_states=embeddings).sample
        check_captured(captured, self._plan, side=side)
        if captured.self_attention is None:
            raise SettingsError("capture.self_layer is not part of this model's forward")
        own = captured.self_attention
        return AttentionOutput(
            self._fuse(captured, prompts, of=side, to=math.isqrt(own.shape[-1])),
            own,
            output if self._to_end else None,
        )

    def _named(self, prompts: Sequence[Prompt], embeddings: Tensor) -> Bool[Tensor, "rows tokens"]:
        """Return which tokens belong to a category."""
        named = torch.zeros(embeddings.shape[:2], dtype=torch.bool)
        for index, prompt in enumerate(prompts):
            for tokens in prompt.tokens:
                named[index, list(tokens)] = True
        return to_device(named, embeddings.device)

    def _fuse(
        self, captured: CapturedAttention, prompts: Sequence[Prompt], *, of: int, to: int
    ) -> Tensor:
        """Return the maps of the prompts' categories by slot, Float[rows pixels tokens].

        Args:
            captured: the attention kept of the forward.
            prompts: one for each row.
            of: L, the side that `capture.cross_weights` divides.
            to: the side of the grid of the maps.
        """
        weights = {of // d: w for d, w in self.settings.capture.cross_weights.items() if w}
        fused = fuse_resolutions(
            [captured.mean_cross(grid) for grid in weights], list(weights.values()), side=to
        )
        if self.settings.cluster.enabled:
            fused = cluster_maps(fused, side=to, rounds=self.settings.cluster.rounds)
        tokens = fused.shape[-1]
        slots = torch.zeros(len(fused), tokens, tokens)
        chosen = membership([prompt.tokens for prompt in prompts], tokens=tokens)
        slots[:, : chosen.shape[1]] = chosen
        return tokens_to_categories(fused, to_device(slots, fused.device))
