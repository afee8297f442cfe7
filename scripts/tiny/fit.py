"""Training of the UNet, from captions alone.

No mask takes part: masks serve only to score checkpoints on scenes that training never sees.
"""

import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTokenizer

from tiny.judge import Judge
from tiny.store import open_store
from tiny.text import LENGTH, encode_captions, make_tokenizer
from tiny.training import (
    Average,
    Progress,
    append_row,
    falling_rate,
    load_checkpoint,
    mark_running,
    save_checkpoint,
)
from tiny.unet import Model, build_scheduler, load_parts
from tiny.vae import cache_latents

log = logging.getLogger(__name__)
CAPTION_DROPOUT = 0.07
TEXT_RATE = 3.0  # learning rate of the text's embeddings against the UNet's


@dataclass(frozen=True)
class Plan:
    """Length and rates of the training; rates follow steps, never a clock."""

    small_steps: int = 7000  # at 64 px, L = 16
    large_steps: int = 0  # at 128 px, L = 32: 900 of them gained nothing
    small_batch: int = 32
    large_batch: int = 8
    warmup: int = 200
    peak: float = 1.2e-3
    last: float = 5e-5
    save_every: int = 250
    score_every: int = 500

    @property
    def steps(self) -> int:
        """Steps of both parts."""
        return self.small_steps + self.large_steps


class Scenes:
    """Latents and captions of some splits, all in memory."""

    def __init__(self, work: Path, splits: tuple[str, ...], tokenizer: CLIPTokenizer) -> None:
        rows = [row for split in splits for row in open_store(work, split).categories.tolist()]
        self.latents = torch.cat([torch.from_numpy(cache_latents(work, split)) for split in splits])
        self.captions = encode_captions(tokenizer, rows)
        self.empty = tokenizer(
            "", padding="max_length", max_length=LENGTH, return_tensors="pt"
        ).input_ids

    def draw(self, batch: int) -> tuple[Tensor, Tensor]:
        """Random latents [batch, 4, L, L] and token ids [batch, LENGTH], some of them empty."""
        chosen = torch.randint(len(self.latents), (batch,))
        dropped = torch.rand(batch, 1) < CAPTION_DROPOUT
        ids = torch.where(dropped, self.empty, self.captions[chosen])
        return self.latents[chosen].float(), ids


def diffusion_loss(
    model: nn.Module, scheduler: DDIMScheduler, latents: Tensor, ids: Tensor
) -> Tensor:
    """Mean squared error of v at t drawn from 1000 * Beta(2, 2)."""
    pair = torch.rand(3, len(latents)).sort(dim=0).values  # the middle of three is Beta(2, 2)
    times = (pair[1] * 1000).long().clamp_max(999)
    noise = torch.randn_like(latents)
    noisy = scheduler.add_noise(latents, noise, times)
    target = scheduler.get_velocity(latents, noise, times)
    return functional.mse_loss(model(noisy, times, ids), target)


def build_optimiser(model: Model) -> torch.optim.AdamW:
    """AdamW with a higher rate and no decay for the text's embeddings."""
    groups = [
        {"params": _trained(model.unet), "weight_decay": 0.01, "scale": 1.0},
        {"params": _trained(model.text), "weight_decay": 0.0, "scale": TEXT_RATE},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), fused=True)


def _trained(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def train_unet(work: Path, *, seed: int, plan: Plan, start: Path | None = None) -> None:
    """Train from the last checkpoint on; a fresh training begins from the model folder `start`.

    Every score goes to `work/learning_curve.csv`; the weights that scored best at L = 32, where
    the product runs, are kept in `work/unet-best`.
    """
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(work)
    scheduler = build_scheduler()
    model = Model(tokenizer)
    if start is not None:
        load_parts(model, start)
    optimiser = build_optimiser(model)
    average = Average(_trained(model), longest=0.999)
    checkpoint = work / "unet-checkpoint"
    progress = load_checkpoint(checkpoint, model, optimiser, average)
    small = Scenes(work, ("fit64", "near64"), tokenizer)
    large = Scenes(work, ("fit128",), tokenizer) if plan.large_steps else small
    judge = Judge(work, tokenizer, seed=seed)
    (work / "plan.json").write_text(json.dumps(asdict(plan), indent=2) + "\n", "utf-8")
    mark_running(work)
    running = 0.0
    while progress.step < plan.steps:
        is_small = progress.step < plan.small_steps
        batch = plan.small_batch if is_small else plan.large_batch
        rate = falling_rate(
            progress.step, steps=plan.steps, warmup=plan.warmup, peak=plan.peak, last=plan.last
        )
        for group in optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        loss = diffusion_loss(model, scheduler, *(small if is_small else large).draw(batch))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(_trained(model), 1.0)
        optimiser.step()
        average.update(progress.step)
        progress = Progress(progress.step + 1, progress.samples + batch)
        running = loss.item() if running == 0 else 0.99 * running + 0.01 * loss.item()
        if progress.step % 50 == 0:
            log.info("UNet step %d rate %.2e loss %.4f", progress.step, rate, running)
        done = progress.step == plan.steps
        if progress.step % plan.save_every == 0 or done:
            save_checkpoint(checkpoint, model, optimiser, average, progress)
        if progress.step % plan.score_every == 0 or done:
            points = judge.points(model, average)
            log.info("UNet step %d mIoU %s", progress.step, points)
            row = {**asdict(progress), "side": 16 if is_small else 32, "loss": round(running, 4)}
            append_row(work / "learning_curve.csv", {**row, **points})
            keep_best(work, checkpoint, points["full_32"])


def keep_best(work: Path, checkpoint: Path, points: float) -> None:
    """Copy the checkpoint's averaged weights to `work/unet-best` where they are the best yet."""
    best = work / "unet-best"
    record = best / "score.json"
    if record.exists() and json.loads(record.read_text("utf-8"))["full_32"] >= points:
        return
    best.mkdir(exist_ok=True)
    shutil.copyfile(checkpoint / "average.safetensors", best / "average.part")
    (best / "average.part").replace(best / "average.safetensors")
    record.write_text(json.dumps({"full_32": points}) + "\n", "utf-8")
