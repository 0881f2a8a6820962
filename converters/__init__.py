"""Checkpoint formats and name rules. Numpy is the only currency here; no framework is imported."""
