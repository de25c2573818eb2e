"""The serving certificate of each server, and the rotation of the CA by the controller."""
