"""`PlainSegmenter`: the plain path, the same maths as the papers write it, to compare speed with.

It works as the authors' released code does (github.com/linsun449/iseg.code). It is not made slow on
purpose. It differs from the fast path in these points:

- it takes one image at a time, from its file to its mask; weights have PyTorch's usual layout, and
  nothing is compiled;
- the whole UNet runs, also the part after the last attention that is read;
- every layer that is read computes its attention step by step and keeps the scores of all its
  heads. Their softmax is computed again afterwards and layers are concatenated; then heads are
  chosen and averaged;
- the text of an image is embedded for each image, even if another image had the same text;
- clustering computes each distance token by token;
- maps are scored for every class of the dataset, also for classes that the image lacks;
- masks are written one after the other, between the images.

It differs from the released code in these points, all of which make it faster: layers that are not
read use PyTorch's fused attention; self-attention is read in the one layer that is used (there, in
three); maps are enlarged once, to the image's size (there, to 512 x 512 first). Neither records
gradients. Maps are float32, as in the fast path, because masks are compared (there, float16 on the
GPU).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from iseg_cli.backbones.latents import draw_noise
from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.backbones.prompts import Prompt, build_prompts
from iseg_cli.benchmark.plain_ops import cluster_by_distance, reduce_entropy_plainly
from iseg_cli.config import Settings
from iseg_cli.errors import SettingsError
from iseg_cli.ops.aggregate import fuse_resolutions, resize
from iseg_cli.ops.assign import assign, background_score, ignore_band, min_max
from iseg_cli.ops.refine import refine, refine_adaptively
from iseg_cli.segmentation.refinement import refine_steps
from iseg_cli.segmentation.segmenter import label_values
from iseg_cli.types import Category, LabelSet, Mask

BLOCK = "transformer_blocks.0"
"""The transformer in a layer of the settings' `capture`; in Stable Diffusion each layer has one."""


class KeepScores:
    """An attention processor that computes step by step and keeps the scores of all heads."""

    def __init__(self) -> None:
        self.scores: Tensor | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """Return the layer's output; keep the scores before their softmax."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(context))
        value = attn.head_to_batch_dim(attn.to_v(context))
        if attn.upcast_attention:
            query, key = query.float(), key.float()
        empty = query.new_empty(len(query), query.shape[1], key.shape[1])
        self.scores = torch.baddbmm(empty, query, key.transpose(1, 2), beta=0, alpha=attn.scale)
        shares = self.scores.softmax(dim=-1).to(value.dtype)
        hidden_states = attn.batch_to_head_dim(torch.bmm(shares, value))
        output: Tensor = attn.to_out[1](attn.to_out[0](hidden_states))
        return output

    def take(self) -> Tensor:
        """Return the softmax of the scores, Float[1 heads pixels tokens] in float32; drop them."""
        if self.scores is None:
            raise RuntimeError("the layer did not run")
        scores, self.scores = self.scores, None
        return scores[None].softmax(dim=-1, dtype=torch.float32)


@dataclass(frozen=True)
class _PlainAttention:
    """Attention of one image and one prompt: Float[1 pixels categories], Float[1 pixels pixels]."""

    cross: Tensor
    self_attention: Tensor


class PlainSegmenter:
    """Segments one image at a time by the plain path."""

    def __init__(self, model: DiffusionModel, settings: Settings, label_set: LabelSet) -> None:
        """Attach processors to the layers of the model that are read; they stay attached.

        Raises:
            SettingsError: the plain path does not support the settings.
        """
        if settings.cat_cross.apply != "embeddings":
            raise SettingsError(
                "the plain path supports cat_cross.apply: embeddings only; set that, or pass "
                "--skip-reference"
            )
        self.model, self.settings, self.label_set = model, settings, label_set
        for part in (model.vae, model.unet):
            part.to(memory_format=torch.contiguous_format)
        words = settings.prompt.background_words
        self._words = label_set.background_words if words is None else words
        capture = settings.capture
        self._cross = [self._keep(f"{name}.{BLOCK}.attn2") for name in capture.cross_layers]
        self._self = self._keep(f"{capture.self_layer}.{BLOCK}.attn1")
        self._prompts = lru_cache(maxsize=None)(self._build_prompts)

    @torch.inference_mode()
    def segment(
        self,
        image: UInt8[np.ndarray, "side side 3"],
        categories: Sequence[Category],
        size: tuple[int, int],
    ) -> Mask:
        """Return the mask of one image; `size` is the (height, width) of the mask."""
        if not categories:
            return Mask(np.full(size, label_values((), self.label_set)[0], dtype=np.uint8))
        latents = self._encode(image)
        outputs = [self._read(latents, prompt) for prompt in self._prompts(tuple(categories))]
        own = torch.stack([output.self_attention for output in outputs]).mean(dim=0)
        # Prompts name the categories in sequence, so that their maps are only concatenated.
        cross = torch.cat([output.cross for output in outputs], dim=-1)
        return self._label(self._refine(cross, own), categories, size)

    def _keep(self, name: str) -> KeepScores:
        processor = KeepScores()
        self.model.unet.get_submodule(name).set_processor(processor)
        return processor

    def _build_prompts(self, categories: tuple[Category, ...]) -> tuple[Prompt, ...]:
        return build_prompts(
            categories,
            self.model.tokenizer,
            background_words=self._words,
            background_prefix=self.settings.prompt.background_prefix,
            background_suffix=self.settings.prompt.background_suffix,
            max_tokens=self.model.max_tokens,
        )

    def _encode(self, image: np.ndarray) -> Tensor:
        """Return the image's noisy latents; the noise is drawn again for each image."""
        pixels = torch.from_numpy(image)[None].to(self.model.device).permute(0, 3, 1, 2)
        pixels = pixels.float().div(127.5).sub(1).to(self.model.dtype)
        mean = self.model.vae.encode(pixels).latent_dist.mean.float()
        clean = mean * self.model.vae.config.scaling_factor
        noise = draw_noise(self.model, seed=self.settings.seed).to(clean.device)
        timestep = torch.tensor([self.settings.capture.timestep], device=clean.device)
        noisy: Tensor = self.model.scheduler.add_noise(clean, noise, timestep)
        return noisy.to(self.model.dtype)

    def _embed(self, prompt: Prompt) -> Tensor:
        """Return the prompt's embeddings, Float[1 tokens channels]; the categories' times gamma."""
        tokens = self.model.tokenizer(
            prompt.text,
            padding="max_length",
            max_length=self.model.max_tokens,
            return_tensors="pt",
        )
        embedding: Tensor = self.model.text_encoder(
            tokens.input_ids.to(self.model.device)
        ).last_hidden_state
        embedding = embedding.clone()
        named = sorted({token for own in prompt.tokens for token in own})
        embedding[:, named] *= self.settings.cat_cross.gamma
        return embedding

    def _read(self, latents: Tensor, prompt: Prompt) -> _PlainAttention:
        """Return the attention of a forward of the whole UNet, on one grid."""
        timestep = torch.tensor([self.settings.capture.timestep], device=latents.device)
        self.model.unet(latents, timestep, encoder_hidden_states=self._embed(prompt))
        heads = self.settings.capture.self_heads
        own = self._self.take()
        own = own.mean(dim=1) if heads is None else own[:, list(heads)].mean(dim=1)
        fused = self._fuse(of=latents.shape[-1], to=math.isqrt(own.shape[-1]))
        maps = [fused[..., list(tokens)].mean(dim=-1) for tokens in prompt.tokens]
        return _PlainAttention(torch.stack(maps, dim=-1), own)

    def _fuse(self, *, of: int, to: int) -> Tensor:
        """Return the fused cross-attention of all tokens, Float[1 pixels tokens].

        `of` is L, the side of the latents, which tells the resolutions of layers; `to` is the side
        of the maps' grid.
        """
        layers: dict[int, list[Tensor]] = {}
        for processor in self._cross:
            shares = processor.take()
            layers.setdefault(of // math.isqrt(shares.shape[2]), []).append(shares)
        capture = self.settings.capture
        maps, weights = [], []
        for divisor, weight in capture.cross_weights.items():
            if not weight:
                continue
            together = torch.cat(layers[divisor], dim=1)
            heads = capture.cross_heads.get(divisor)
            chosen = together if heads is None else together[:, list(heads)]
            maps.append(chosen.mean(dim=1))
            weights.append(weight)
        fused = fuse_resolutions(maps, weights, side=to)
        if self.settings.cluster.enabled:
            fused = cluster_by_distance(fused[0], side=to, rounds=self.settings.cluster.rounds)
            fused = fused[None]
        return fused

    def _refine(self, cross: Tensor, attention: Tensor) -> Tensor:
        """Return the categories' maps refined by self-attention, as the settings say."""
        steps = refine_steps(self.settings)
        if steps.ent_self is not None:
            attention = reduce_entropy_plainly(attention, steps.ent_self)
        if steps.stop is not None:
            return refine_adaptively(
                cross,
                attention,
                tolerance=steps.stop.tolerance,
                min_iterations=steps.stop.min_products,
                max_iterations=steps.products,
            )[0]
        return refine(cross, attention, iterations=steps.products)

    def _label(self, maps: Tensor, categories: Sequence[Category], size: tuple[int, int]) -> Mask:
        """Return the mask at the image's size: at every pixel the dataset's strongest class."""
        side = math.isqrt(maps.shape[1])
        grid = min_max(resize(maps, height=side, width=side)).flatten(2).transpose(1, 2)
        every = self.label_set.categories
        columns = [every.index(category) for category in categories]
        scores = grid.new_zeros(1, len(every), *size)
        scores[:, columns] = min_max(resize(grid, height=size[0], width=size[1]))
        valid = torch.zeros(1, len(every), dtype=torch.bool, device=scores.device)
        valid[:, columns] = True
        rule = self.settings.assign
        labels = assign(scores, background=rule.background, threshold=rule.threshold, valid=valid)
        if rule.ignore_low is not None and rule.ignore_high is not None:
            background = background_score(scores, valid=valid)
            labels = ignore_band(labels, background, low=rule.ignore_low, high=rule.ignore_high)
        return Mask(label_values(every, self.label_set)[labels[0].cpu().numpy()])
