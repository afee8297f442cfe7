"""`iseg sweep`: scores a grid of settings on the same images.

Settings that differ only after the attention share one forward of the model for each image.
"""

from iseg_cli.sweep.run import default_sweep_folder, sweep
from iseg_cli.sweep.score_settings import score_settings

__all__ = ["default_sweep_folder", "score_settings", "sweep"]
