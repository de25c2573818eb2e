"""The controller's side of checksums: what changes by itself is rolled, and what a webhook left out is repaired."""
