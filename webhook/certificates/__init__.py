"""Certificates put to work: where they come from, that they are served and trusted, and who rotates them."""
