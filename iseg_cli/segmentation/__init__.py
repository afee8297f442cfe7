"""Segmentation of images: `Segmenter` (segmenter.py) turns images and categories into masks.

`UnsupervisedSegmenter` numbers segments instead; both are a `BatchSegmenter` for loops over images.
"""
