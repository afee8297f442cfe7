"""Stable Diffusion with its attention captured: the only room that knows diffusers."""
