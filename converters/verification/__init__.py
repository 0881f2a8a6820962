"""The proof that frameworks compute the same numbers. Internal."""
