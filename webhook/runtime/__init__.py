"""What every program needs: settings, log, metrics, clock, background tasks."""
