"""Model families: files, loading, latents, noise, texts; with `attention`, all that knows diffusers."""
