"""What checksums are, who wants which and what has to change: pure, and the same for every program."""
