"""Attention of a diffusion model: processors read it in a forward, extractors return maps of it.

`MapExtractor` serves tasks with categories, `SelfMapExtractor` the unsupervised task.
"""
