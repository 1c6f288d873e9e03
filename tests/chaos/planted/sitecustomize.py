"""Plants bugs into a process that is started with this folder on its PYTHONPATH.

The interpreter imports this by its name, before anything of the program; only what the harness
starts has the variable.
"""

import importlib
import os
import sys

_names = os.environ.get("TRIALOG_TEST_PLANTED")
if _names:
    _side = "service" if "trialog_server" in sys.orig_argv else "training"
    _bugs = importlib.import_module(f"{_side}_bugs").BUGS
    for _name in _names.split(","):
        if _name in _bugs:
            _bugs[_name]()
