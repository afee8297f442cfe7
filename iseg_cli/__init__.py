"""Pixel masks from the attention of Stable Diffusion (the iSeg paper, arXiv 2409.03209)."""
