"""Label images: the labels of the pixels of a mask PNG, written by iseg or by another tool.

Readers and storage both use it.
"""

from iseg_cli.label_images.decode import Decoded, read_labels
from iseg_cli.label_images.labelmap import LABELMAP_NAME
from iseg_cli.label_images.legend import Legend, Written, folder_legend
from iseg_cli.label_images.png import HEADER_BYTES, DamagedPngError, end_of_chunks, size_in_header

__all__ = [
    "HEADER_BYTES",
    "LABELMAP_NAME",
    "DamagedPngError",
    "Decoded",
    "Legend",
    "Written",
    "end_of_chunks",
    "folder_legend",
    "read_labels",
    "size_in_header",
]
