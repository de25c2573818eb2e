"""Deduplication: one OrchestrationRun for each delivery. `docs/deduplication.md` says what is promised."""
