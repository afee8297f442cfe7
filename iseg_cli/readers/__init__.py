"""Datasets: where their images are, what their labels mean, what the truth is."""
