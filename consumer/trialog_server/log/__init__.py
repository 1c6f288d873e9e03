"""The log: append, read, bounds. One port (`base.py`) and its adapters."""
