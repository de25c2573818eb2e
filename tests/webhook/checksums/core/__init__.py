"""Tests of the decisions about checksums."""
