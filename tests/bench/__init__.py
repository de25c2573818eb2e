"""Measurements: each prints figures and judges nothing. `python -m tests.bench NAME`."""
