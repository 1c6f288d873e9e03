"""Searches as runs: other people's libraries, a module for each, which needs it, and one's own."""
