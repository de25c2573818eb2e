"""Clients of what rollonce depends on: the Kubernetes API server, Redis, and files."""
