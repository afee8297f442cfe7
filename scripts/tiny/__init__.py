"""Stages that make the embedded model: sprites, scenes, tokenizer, VAE, UNet, export."""
