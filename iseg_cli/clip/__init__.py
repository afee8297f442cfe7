"""CLIP: what images show, in words; knows transformers but not diffusers."""
