"""The admission server: HTTP limits and deadlines, TLS, health, drain."""
