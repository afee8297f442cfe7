"""Datasets on disk: a reader for each layout returns images, ground truth and annotations.

`catalog` lists the datasets, and `registry` opens them.
"""
