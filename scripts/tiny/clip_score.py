"""Mean average precision of plain CLIP scores: does an image show a class?"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import CLIPModel, CLIPTokenizer

from tiny.clip import embed_images, embed_texts, to_pixels
from tiny.clip_captions import class_words, encode_texts

TEMPLATE = "a photograph of {}"
Array = npt.NDArray[Any]


def average_precision(scores: Array, truth: Array) -> float:
    """Mean over the true images of the precision among all that score at least as high."""
    order = np.argsort(-scores, kind="stable")
    hits = truth[order].astype(bool)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def mean_average_precision(scores: Array, truth: Array) -> float:
    """Mean over the classes [n, classes] that some image shows."""
    shown = np.flatnonzero(truth.any(axis=0))
    return float(np.mean([average_precision(scores[:, c], truth[:, c]) for c in shown]))


def class_truth(categories: Array) -> Array:
    """Whether each image [n, 3 class ids] shows each class [n, classes] of `class_words`."""
    numbers = np.array(list(class_words()))
    truth: Array = (categories[:, :, None] == numbers).any(axis=1)
    return truth


@torch.no_grad()
def score_images(
    clip: CLIPModel, tokenizer: CLIPTokenizer, images: Array, *, batch: int = 50
) -> dict[str, Array]:
    """Class scores [n, classes]: logits over that of "background", of images and best patches."""
    texts = ["background", *class_words().values()]
    words = embed_texts(clip, encode_texts(tokenizer, [TEMPLATE.format(text) for text in texts]))
    whole: list[Array] = []
    best: list[Array] = []
    for start in range(0, len(images), batch):
        image, patches = embed_images(clip, to_pixels(images[start : start + batch]))
        scale = clip.logit_scale.exp()
        for parts, embedding in ((whole, image[:, None]), (best, patches)):
            logits = scale * embedding @ words.T
            parts.append((logits[..., 1:] - logits[..., :1]).amax(dim=1).numpy())
    return {"image": np.concatenate(whole), "patches": np.concatenate(best)}
