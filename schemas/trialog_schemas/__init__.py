"""What may be said: events, their wire form, names, limits, rules and errors; pure, without I/O."""
