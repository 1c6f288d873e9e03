-- Names of the migrations applied to one scope; primary key of migrations.
SELECT name FROM trialog.migrations WHERE scope = $1
