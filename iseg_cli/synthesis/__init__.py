"""`iseg synthesize`: synthetic datasets, images with masks from the model's own attention.

`image_specs.py` plans the images, `synthesizer.py` generates them, `synthesize.py` is the run.
"""
