"""`iseg sweep`: many settings on the same images, each image's attention read once."""

from iseg_cli.sweep.run import default_sweep_folder, score_settings, sweep

__all__ = ["default_sweep_folder", "score_settings", "sweep"]
