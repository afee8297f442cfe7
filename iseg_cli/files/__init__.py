"""What readers and storage share about files: text as users bring it, and Pillow in a process."""
