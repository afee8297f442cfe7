"""Attention of a model: what is read in a forward, and the maps that come of it."""
