-- Points the views of schema live at the live generation; unique index generations_live.
SELECT trialog.show_generation(generation) FROM trialog.generations WHERE status = 'live'
