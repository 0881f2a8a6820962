"""Framework-free part of training: settings, schedule, weight decay, logs, checkpoints and the loop."""
