"""Datasets in COCO's format: COCO itself, and JSON files of one's own.

`reader` has the reader; the other modules check what such a JSON holds, one list of it each.
"""
