"""One forward of the UNet, read: noisy latents and their prompts in, the categories' maps out."""

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
    """What one forward said.

    Attributes:
        cross: the maps of each prompt's categories, by their slot: as many slots as tokens, more
            than categories fit, so that the arithmetic has the same shape whatever they are.
        self_attention: how each position attends to all; rows sum to 1. Its positions are those of
            the grid of `capture.self_layer`, on which the maps lie as well.
        output: what the UNet predicted, noise or velocity, in its own type; None where the
            forward ended at the last attention that is read.
    """

    cross: Float[Tensor, "rows pixels tokens"]
    self_attention: Float[Tensor, "rows pixels pixels"]
    output: Float[Tensor, "rows channels side side"] | None

    @property
    def side(self) -> int:
        """The side of the grid that all of this lies on: L, or less where the layer has fewer."""
        return math.isqrt(self.self_attention.shape[-1])


class AttentionExtractor:
    """Reads the attention that the settings' `capture` section names, forward by forward.

    Unless the forwards are to run to their end, for the sake of what the UNet predicts, nothing
    behind the last attention that is read is run.
    """

    def __init__(self, model: DiffusionModel, settings: Settings, *, to_end: bool = False) -> None:
        """Make ready.

        Raises:
            SettingsError: settings that ask for layers that the model does not have.
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
        """Return what the text encoder makes of the prompts' texts, each embedded once."""
        return self.embed([prompt.text for prompt in prompts])

    def enhanced(self, prompts: Sequence[Prompt]) -> Float[Tensor, "rows tokens channels"]:
        """Return the embeddings with those of the categories' tokens times gamma (Cat-Cross)."""
        embeddings = self.embeddings(prompts)
        return enhance(
            embeddings, self._named(prompts, embeddings), gamma=self.settings.cat_cross.gamma
        )

    def read(self, latents: Tensor, timestep: Tensor, prompts: Sequence[Prompt]) -> AttentionOutput:
        """Run the UNet once, with Cat-Cross, and read its attention.

        Args:
            latents: Float[rows channels side side], noisy as the timestep says, in the model's
                type.
            timestep: Int[1] or Int[], on the latents' device.
            prompts: one for each row.

        Raises:
            SettingsError: settings that ask for layers or heads that the model does not have.
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
        """Return the maps of the prompts' categories, Float[rows pixels tokens], by their slot.

        Args:
            captured: what the forward left behind.
            prompts: one for each row.
            of: L, the side that `capture.cross_weights` divides.
            to: the side of the grid that the maps are brought to.
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
