"""Output folders: masks and other outputs, records, provenance, locks.

Files are whole or absent, so that a rerun resumes.
"""

from iseg_cli.storage.contents import holds_masks, list_masks
from iseg_cli.storage.files import write_atomically
from iseg_cli.storage.folder import PredictionFolder
from iseg_cli.storage.masks import (
    decode_mask,
    encode_mask,
    encode_picture,
    is_whole_png,
    png_size,
    read_mask,
)
from iseg_cli.storage.records import Drawing, ImageRecord
from iseg_cli.storage.run_info import SYNTHESIS, RunInfo
from iseg_cli.storage.run_paths import RunPaths
from iseg_cli.storage.shards import Shard
from iseg_cli.storage.synthetic import SyntheticFolder
from iseg_cli.storage.writers.rle import RleSummary, write_rle
from iseg_cli.storage.writers.scores import read_scores, write_scores

__all__ = [
    "SYNTHESIS",
    "Drawing",
    "ImageRecord",
    "PredictionFolder",
    "RleSummary",
    "RunInfo",
    "RunPaths",
    "Shard",
    "SyntheticFolder",
    "decode_mask",
    "encode_mask",
    "encode_picture",
    "holds_masks",
    "is_whole_png",
    "list_masks",
    "png_size",
    "read_mask",
    "read_scores",
    "write_atomically",
    "write_rle",
    "write_scores",
]
