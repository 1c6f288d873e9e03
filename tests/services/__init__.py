"""Real services for the tests: Apache Kafka, PostgreSQL and a TCP proxy that fails on demand.

Nothing here is a fake, and nothing here knows trialog. Every server that this package starts
listens on loopback only and ends with the test process, however that one ends.
"""
