"""`iseg generate`: a resumable run over a dataset, in this process or in many.

`generate.py` has the run, `mask_generator.py` what a worker does, `engines/` who runs the workers.
"""
