"""The table of known problems of checkpoints. Internal."""
