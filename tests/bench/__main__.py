"""`make bench`: run every benchmark and print one table.

    python -m tests.bench [--small]

`--small` only shows that everything runs: its figures say nothing.
"""

from __future__ import annotations

import argparse

from tests.bench.measure_all import measure_all
from tests.bench.table import print_table

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="only show that everything runs")
    print_table(measure_all(is_small=parser.parse_args().small))
