"""Where image-level labels come from."""
