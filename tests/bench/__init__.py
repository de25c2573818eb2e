"""Measurements: each prints figures and has no pass or fail. `python -m tests.bench NAME`."""
