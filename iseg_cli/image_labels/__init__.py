"""Image-level labels: where they come from, one file for each kind of `ImageLabeler`.

`choose_labeler` returns the labeler that `--labels` names; the one of CLIP is in `iseg_cli.clip`.
"""

from iseg_cli.image_labels.annotations import AnnotationLabeler
from iseg_cli.image_labels.base import ImageLabeler
from iseg_cli.image_labels.constant import ConstantLabeler, NoLabeler
from iseg_cli.image_labels.file import names_in_file, read_labels_file
from iseg_cli.image_labels.mappings import path_and_list
from iseg_cli.image_labels.masks import MaskLabeler
from iseg_cli.image_labels.prompts import read_prompts_file
from iseg_cli.image_labels.registry import SPECS, choose_labeler

__all__ = [
    "SPECS",
    "AnnotationLabeler",
    "ConstantLabeler",
    "ImageLabeler",
    "MaskLabeler",
    "NoLabeler",
    "choose_labeler",
    "names_in_file",
    "path_and_list",
    "read_labels_file",
    "read_prompts_file",
]
