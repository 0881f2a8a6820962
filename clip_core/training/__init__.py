"""Training, as far as it needs no framework: settings, schedule, what decays, logs, checkpoints, the loop."""
