"""A third feature, as a newcomer adds one: a folder of its own, and one line in the list of features."""
