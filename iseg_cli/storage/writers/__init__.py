"""Output writers, one file for each kind of output: masks, overlays, scores, COCO results.

`OUTPUT_WRITERS` lists the kinds that a run can write besides its masks.
"""

from iseg_cli.storage.writers.base import ImageOutput, OutputWriter
from iseg_cli.storage.writers.masks import MaskWriter
from iseg_cli.storage.writers.registry import OUTPUT_WRITERS, Outputs, open_writers

__all__ = [
    "OUTPUT_WRITERS",
    "ImageOutput",
    "MaskWriter",
    "OutputWriter",
    "Outputs",
    "open_writers",
]
