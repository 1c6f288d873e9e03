"""From HTTP into the log."""
