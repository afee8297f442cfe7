"""Where image-level labels come from."""

from iseg_cli.image_labels.file import from_file, names_in_file
from iseg_cli.image_labels.mappings import path_and_list
from iseg_cli.image_labels.prompts import from_prompts
from iseg_cli.image_labels.source import (
    LabelSource,
    constant,
    from_annotations,
    from_masks,
    nowhere,
)
from iseg_cli.image_labels.spec import choose

__all__ = [
    "LabelSource",
    "choose",
    "constant",
    "from_annotations",
    "from_file",
    "from_masks",
    "from_prompts",
    "names_in_file",
    "nowhere",
    "path_and_list",
]
