"""Pixel masks from the attention of Stable Diffusion (the iSeg paper, arXiv 2409.03209).

>>> from iseg_cli import Segmenter
>>> segmenter = Segmenter.from_pretrained("tiny")
>>> mask = segmenter.segment("scene.jpg", categories=["dog", "car"])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iseg_cli.segmentation.segmenter import Segmenter

__all__ = ["Segmenter"]


def __getattr__(name: str) -> Any:
    """Return `Segmenter`, imported on first use: without torch `iseg --help` is instant."""
    if name == "Segmenter":
        from iseg_cli.segmentation.segmenter import Segmenter

        return Segmenter
    raise AttributeError(f"module 'iseg_cli' has no attribute {name!r}")
