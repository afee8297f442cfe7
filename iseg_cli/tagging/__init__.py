"""`iseg tag`: image-level labels found by CLIP, written and scored."""
