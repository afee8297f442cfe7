"""How work runs on a machine: setting up, batch sizes, bounded queues, processes, provenance."""
