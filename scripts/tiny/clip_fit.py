"""Training of the embedded CLIP from captions alone: no mask and no box takes part.

The exported model saw 578,000 images in 34 minutes of two CPU cores that had other work as well:
17 minutes for 7,000 steps of 62 windows, 17 for 4,500 steps of 32 scenes.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from tiny.backgrounds import draw_background
from tiny.clip import GRID, SIDE, build_clip, embed_images, embed_texts, start_patches, to_pixels
from tiny.clip_captions import Captions, make_clip_tokenizer
from tiny.clip_score import class_truth, mean_average_precision, score_images
from tiny.store import open_store
from tiny.training import (
    Average,
    Progress,
    append_row,
    falling_rate,
    load_checkpoint,
    save_checkpoint,
)

log = logging.getLogger(__name__)
NEAR = {"near64": 60}  # images of a batch by split, at first: windows of 64 px
WHOLE = {"fit128": 14, "near64": 9, "fit64": 7}  # then: whole scenes of 128 px
BACKGROUNDS = 2  # images of a batch that show nothing
SCENE_CAPTIONS = 16  # images of a batch whose own captions take part
DRAWN_BACKGROUNDS = 1000
PATCH_WEIGHT = 0.5
SCENE_WEIGHT = 0.5
SOFTMAX_WEIGHT = 0.1
GREATEST_SCALE = 30.0


@dataclass(frozen=True)
class ClipPlan:
    """Length and rates of the training; rates follow steps, never a clock."""

    near_steps: int = 7000
    whole_steps: int = 4500
    warmup: int = 150
    peak: float = 1.5e-3
    last: float = 1e-5
    decay: float = 0.05
    score_every: int = 250

    @property
    def steps(self) -> int:
        """Steps of both parts."""
        return self.near_steps + self.whole_steps


class Pool:
    """Images of several sizes with their class ids, and backgrounds without any."""

    def __init__(self, work: Path, seed: int) -> None:
        self.images, self.rows = {}, {}
        for split in {*NEAR, *WHOLE}:
            store = open_store(work, split)
            self.images[split], self.rows[split] = np.array(store.images), store.categories
        random = np.random.default_rng([seed, 100])
        self.empty = [
            (draw_background(random, SIDE) * 255 + 0.5).astype(np.uint8)
            for _ in range(DRAWN_BACKGROUNDS)
        ]

    def draw(self, shares: dict[str, int], side: int) -> tuple[Tensor, npt.NDArray[Any]]:
        """Pixels [n, 3, side, side], mirrored half of the time, and class ids [n, 3]."""
        pixels, rows = [], []
        for split, count in shares.items():
            chosen = torch.randint(len(self.rows[split]), (count,)).numpy()
            pixels.append(to_pixels(self.images[split][chosen], side))
            rows.append(self.rows[split][chosen])
        empty = torch.randint(len(self.empty), (BACKGROUNDS,)).tolist()
        pixels.append(to_pixels(np.stack([self.empty[index] for index in empty]), side))
        rows.append(np.zeros((BACKGROUNDS, 3), np.uint8))
        images = torch.cat(pixels)
        mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
        order = torch.randperm(len(images))
        images = torch.where(mirrored, images.flip(3), images)[order]
        return images, np.concatenate(rows)[order.numpy()]


def caption_loss(
    clip: CLIPModel, pixels: Tensor, ids: Tensor, truth: Tensor, corner: tuple[int, int]
) -> Tensor:
    """Binary cross-entropy of "this caption is true of this image", for images and patches.

    The logit is that of the caption less that of a caption that names no class. Of the patches
    the log of the mean of exp is taken, so an image's class must show in some of its patches and
    an absent one in none. A softmax over the classes' captions joins it for images.
    """
    image, patches = embed_images(clip, pixels, corner)
    words = embed_texts(clip, ids)
    scale = clip.logit_scale.exp().clamp_max(GREATEST_SCALE)
    classes = truth.shape[1] - SCENE_CAPTIONS
    whole = scale * image @ words.T
    margin = whole[:, 1:] - whole[:, :1]
    local = scale * patches @ words[: classes + 1].T
    local = torch.logsumexp(local[..., 1:] - local[..., :1], dim=1) - np.log(patches.shape[1])
    cross = functional.binary_cross_entropy_with_logits
    loss = cross(margin[:, :classes], truth[:, :classes])
    loss = loss + SCENE_WEIGHT * cross(margin[:, classes:], truth[:, classes:])
    loss = loss + PATCH_WEIGHT * cross(local, truth[:, :classes])
    aim = torch.cat([truth[:, :classes].sum(dim=1, keepdim=True) == 0, truth[:, :classes]], dim=1)
    aim = aim / aim.sum(dim=1, keepdim=True)
    return loss + SOFTMAX_WEIGHT * functional.cross_entropy(whole[:, : classes + 1], aim)


def build_optimiser(clip: CLIPModel, plan: ClipPlan) -> torch.optim.AdamW:
    """AdamW; only matrices of the blocks decay."""
    named = [(name, value) for name, value in clip.named_parameters() if value.requires_grad]
    decays = [value for name, value in named if ".layers." in name and value.ndim == 2]
    others = [value for name, value in named if not (".layers." in name and value.ndim == 2)]
    groups = [
        {"params": decays, "weight_decay": plan.decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), fused=True)


def judge(clip: CLIPModel, tokenizer: CLIPTokenizer, work: Path) -> dict[str, float]:
    """Mean average precision by images and by best patches, on 200 scenes kept for choosing."""
    store = open_store(work, "choice128")
    truth = class_truth(store.categories)
    scores = score_images(clip, tokenizer, store.images)
    return {
        f"{name}_map": round(mean_average_precision(values, truth), 4)
        for name, values in scores.items()
    }


def train_clip(work: Path, *, seed: int, plan: ClipPlan, start: Path | None = None) -> None:
    """Train from the last checkpoint on; scores go to `work/clip_curve.csv`.

    A fresh training begins from the CLIP in the folder `start`, if it is given.
    """
    torch.manual_seed(seed)
    tokenizer = make_clip_tokenizer(work, start=start)
    clip = build_clip(tokenizer)
    if start is None:
        start_patches(clip, open_store(work, "fit128").images[:1000])
    else:
        weights = load_file(start / "model.safetensors")
        clip.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    parameters = list(clip.parameters())
    optimiser = build_optimiser(clip, plan)
    average = Average(parameters, longest=0.998)
    checkpoint = work / "clip-checkpoint"
    progress = load_checkpoint(checkpoint, clip, optimiser, average)
    pool, captions = Pool(work, seed), Captions(tokenizer, seed)
    (work / "clip-plan.json").write_text(json.dumps(asdict(plan), indent=2) + "\n", "utf-8")
    running = 0.0
    while progress.step < plan.steps:
        rate = falling_rate(
            progress.step, steps=plan.steps, warmup=plan.warmup, peak=plan.peak, last=plan.last
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        if progress.step < plan.near_steps:
            pixels, rows = pool.draw(NEAR, SIDE // 2)
            corner = tuple(torch.randint(GRID // 2 + 1, (2,)).tolist())
        else:
            pixels, rows = pool.draw(WHOLE, SIDE)
            corner = (0, 0)
        loss = caption_loss(
            clip, pixels, *captions.draw(progress.step, rows, SCENE_CAPTIONS), corner
        )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        average.update(progress.step)
        progress = Progress(progress.step + 1, progress.samples + len(pixels))
        running = loss.item() if running == 0 else 0.98 * running + 0.02 * loss.item()
        if progress.step % 50 == 0:
            log.info("CLIP step %d rate %.2e loss %.4f", progress.step, rate, running)
        if progress.step % plan.score_every == 0 or progress.step == plan.steps:
            save_checkpoint(checkpoint, clip, optimiser, average, progress)
            average.swap()
            points = judge(clip, tokenizer, work)
            average.swap()
            log.info("CLIP step %d %s", progress.step, points)
            append_row(
                work / "clip_curve.csv", {**asdict(progress), "loss": round(running, 4), **points}
            )
