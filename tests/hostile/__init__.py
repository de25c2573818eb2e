"""Attacks on a real server process, beside honest traffic through a real API server."""
