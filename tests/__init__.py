"""The tests of rollonce."""
