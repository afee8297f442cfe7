"""Metrics: integers added up, divided once."""
