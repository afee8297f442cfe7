"""Model families: files, loading, latents, noise and texts."""
