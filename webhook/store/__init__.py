"""Redis or Valkey: a client whose time limits suit admission requests."""
