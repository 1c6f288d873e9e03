"""The trialog service: from the event log to the reader."""
