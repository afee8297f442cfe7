"""Datasets in COCO's format: COCO itself, and JSON files of one's own.

`reader` has the reader; each of the other modules reads one part of such a JSON.
"""
