"""What a checkpoint is, what is unusual about it, and how two differ. Internal."""
