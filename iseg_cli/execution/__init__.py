"""How a run uses the machine: set-up, device, batch size, iteration, processes, provenance.

Every command builds on it.
"""
