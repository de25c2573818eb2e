"""A local cluster to try rollonce on: `make dev` and `make demo`."""
