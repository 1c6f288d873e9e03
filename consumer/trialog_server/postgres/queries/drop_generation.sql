-- Forget a generation that nobody reads; see function trialog.drop_generation.
SELECT trialog.drop_generation($1)
