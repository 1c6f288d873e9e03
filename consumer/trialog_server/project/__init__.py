"""From the log to rows: batches are judged by the rules and land with their position at once."""
