"""The rules behind the Kubernetes machinery: pure functions of what was read and of time, which is passed in."""
