"""How batches reach the log."""
