"""The rules of the controller: pure functions of what was read and of time, which is handed in."""
