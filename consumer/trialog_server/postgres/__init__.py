"""Everything that knows PostgreSQL: pool, migrations, statements and the server from the wheel."""
