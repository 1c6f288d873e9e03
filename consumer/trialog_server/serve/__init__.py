"""HTTP over `read`, `ingest` and the artifact store: routes, access, bounds, the page."""
