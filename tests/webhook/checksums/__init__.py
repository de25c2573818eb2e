"""Tests of checksums."""
