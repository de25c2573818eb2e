"""rollonce: one rollout for each change of configuration, one run for each delivery."""
