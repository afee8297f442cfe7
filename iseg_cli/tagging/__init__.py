"""`iseg tag`: image-level labels that CLIP finds, written to a file and scored.

`iseg generate --labels clip` finds the same labels during a run.
"""
