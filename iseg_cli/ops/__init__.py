"""Pure tensor maths of the method: no files, no models, no settings."""
