"""Other people's libraries: a module for each, which needs that library; `trialog` imports none."""
