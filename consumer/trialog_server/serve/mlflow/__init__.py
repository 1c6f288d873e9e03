"""What unmodified MLflow clients ask, over the same log, rules and read models."""
