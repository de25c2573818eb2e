"""A cluster on this machine to try rollonce on: `make dev` and `make demo`."""
