"""Length data, and what can be learned from it."""
