"""Inspection and comparison of checkpoints. Internal."""
