"""The tests of trialog; `tests.services` starts the real services that they need."""
