"""The rules of checksums: pure functions without input or output."""
