"""The controller: what admission alone cannot do."""
