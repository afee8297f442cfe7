"""How many of the pictures that the embedded model draws its CLIP names rightly.

Example: python scripts/picture_score.py --seeds 4

Every class is drawn alone, once for each seed, as scripts/tiny_figures.py draws; the likeliest of
the 19 classes counts. Both models saw the same emoji, so a picture that the CLIP names has what
tells the class apart on them, no more. A guess is right once in 19 times.
"""

from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from tiny.unet import SHARPNESS
from tiny_figures import load_pipeline, sample
from transformers import CLIPModel, CLIPTokenizer

from iseg_cli.config.resources import TINY_CLIP, TINY_MODEL
from iseg_cli.readers.registry import open_dataset


def embedded_classes() -> tuple[str, ...]:
    """The prompts of the 19 classes that the models know."""
    categories = open_dataset("emoji-voc").label_set.categories
    return tuple(c.prompt for c in categories if c.name != "diningtable")


class Namer:
    """The embedded CLIP, asked as transformers asks any."""

    def __init__(self, prompts: tuple[str, ...]) -> None:
        self.prompts = prompts
        self.clip = CLIPModel.from_pretrained(TINY_CLIP).eval()
        tokenizer = CLIPTokenizer.from_pretrained(TINY_CLIP)
        texts = [f"a photograph of {prompt}" for prompt in prompts]
        self.texts = tokenizer(texts, padding=True, return_tensors="pt")

    @torch.inference_mode()
    def name(self, picture: Image.Image) -> str:
        """The likeliest class of a picture of 128 px."""
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
        logits = self.clip(pixel_values=pixels, **self.texts).logits_per_image
        return self.prompts[int(logits.argmax())]


@click.command(help=__doc__)
@click.option(
    "--model",
    type=click.Path(path_type=Path, file_okay=False),
    default=TINY_MODEL,
    help="Folder of the model.  [default: the embedded one]",
)
@click.option("--seeds", default=4, show_default=True, help="Pictures of every class.")
@click.option("--sharpness", default=SHARPNESS, show_default=True, help="c^2 of the kernel.")
def main(model: Path, seeds: int, sharpness: float) -> None:
    """Print how many pictures of each class are named rightly, and of all."""
    prompts = embedded_classes()
    namer = Namer(prompts)
    pipeline = load_pipeline(model, sharpness)
    right = 0
    for prompt in prompts:
        found = [namer.name(sample(pipeline, (prompt,), seed)) for seed in range(seeds)]
        right += found.count(prompt)
        click.echo(f"{found.count(prompt)} of {seeds} {prompt}: {', '.join(found)}")
    click.echo(f"{right} of {seeds * len(prompts)} named rightly")


if __name__ == "__main__":
    main()
