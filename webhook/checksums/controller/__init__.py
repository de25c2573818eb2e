"""The controller of checksums: it rolls workloads when a source changes, and repairs what admission missed."""
