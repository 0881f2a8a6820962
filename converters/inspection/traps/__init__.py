"""What is known to go wrong with checkpoints, as a table. Internal."""
