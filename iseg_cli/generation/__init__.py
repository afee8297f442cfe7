"""`iseg generate`: a resumable run over a dataset, here or on many machines."""
