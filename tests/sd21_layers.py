"""The layers that are read of Stable Diffusion 2.1-base and models with the same blocks."""

from iseg_cli.config.backbone import read_backbone

CROSS_LAYERS = read_backbone("sd2.1-base").capture.cross_layers
SELF_LAYER = read_backbone("sd2.1-base").capture.self_layer
