"""Tests of the checksums webhook."""
