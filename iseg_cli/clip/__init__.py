"""CLIP: `Tagger` finds the classes in an image, `DenseClip` compares its patches with words.

The package uses transformers and no diffusers.
"""
