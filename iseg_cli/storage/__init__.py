"""What a run leaves on disk: masks, records, settings; written so that rerunning means resuming."""

from iseg_cli.storage.contents import holds_masks, list_masks
from iseg_cli.storage.exports import RleSummary, read_scores, write_rle, write_scores
from iseg_cli.storage.files import write_atomically
from iseg_cli.storage.folder import PredictionFolder
from iseg_cli.storage.layout import Layout
from iseg_cli.storage.masks import (
    decode_mask,
    encode_mask,
    encode_picture,
    is_whole_png,
    png_size,
    read_mask,
)
from iseg_cli.storage.records import SYNTHESIS, Drawing, ImageRecord, RunInfo
from iseg_cli.storage.shards import Shard
from iseg_cli.storage.synthetic import SyntheticFolder

__all__ = [
    "SYNTHESIS",
    "Drawing",
    "ImageRecord",
    "Layout",
    "PredictionFolder",
    "RleSummary",
    "RunInfo",
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
