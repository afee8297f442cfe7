"""Scores for choosing checkpoints: the product's own pipeline on scenes that nothing else holds."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.config import load_settings
from iseg_cli.readers.voc import EmojiVocReader
from iseg_cli.sweep import score_settings
from tiny.dataset import write_split
from tiny.training import Average
from tiny.unet import Model, build_scheduler

SPLIT = "choice128"
IMAGES = 100
COMMON = ("capture.timestep=100", "refine.mode=none", "cat_cross.gamma=1")
FULL_LAYERS = "up_blocks.3.attentions.0, up_blocks.3.attentions.1, up_blocks.3.attentions.2"
HALF_LAYERS = "down_blocks.1.attentions.1, up_blocks.2.attentions.0, up_blocks.2.attentions.1"
MEASURES = {
    "full_32": (*COMMON, f"capture.cross_layers=[{FULL_LAYERS}]"),
    "half_32": (
        *COMMON,
        f"capture.cross_layers=[{HALF_LAYERS}]",
        "capture.cross_weights={2: 1.0}",
    ),
}
"""What is scored at L = 32: raw cross-attention of the decoder at L, and of the layers at L/2."""


class Judge:
    """Scores the averaged weights by the raw cross-attention of scenes kept for choosing."""

    def __init__(self, work: Path, tokenizer: CLIPTokenizer, *, seed: int) -> None:
        root = work / "choice"
        if not (root / "ImageSets" / "Segmentation" / f"{SPLIT}.txt").exists():
            write_split(work, root, SPLIT, seed=seed, count=IMAGES)
        self.reader = EmojiVocReader(root, split=SPLIT)
        self.vae = AutoencoderKL.from_pretrained(work / "vae").eval()
        self.tokenizer = tokenizer
        self.variants = {
            name: load_settings("emoji-voc", assignments=assignments)
            for name, assignments in MEASURES.items()
        }

    def points(self, model: Model, average: Average) -> dict[str, float]:
        """Mean IoU in percent of each measure; weights and random state are as before."""
        random = torch.get_rng_state()
        average.swap()
        counts = score_settings(self._assemble(model), self.reader, self.variants, batch_size=20)
        average.swap()
        torch.set_rng_state(random)
        return {name: round(100 * float(count.miou()), 2) for name, count in counts.items()}

    def _assemble(self, model: Model) -> DiffusionModel:
        """The parts as the product takes them; the modules are shared, not copied."""
        return DiffusionModel(
            name="training",
            source="memory",
            vae=self.vae,
            text_encoder=model.text,
            tokenizer=self.tokenizer,
            unet=model.unet,
            scheduler=build_scheduler(),
            device=torch.device("cpu"),
            dtype=torch.float32,
        )
