"""Compare fastnn.metrics with scikit-learn's functions, in one run; README.md explains the figures."""

import argparse

from fastnn._command_line import output_file, positive_count
from fastnn.bench.metrics import CASES, compare_metrics


def main() -> int:
    names = list(dict.fromkeys(case.metric for case in CASES))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", nargs="*", metavar="metric", help=f"some of: {', '.join(names)}")
    parser.add_argument(
        "--rows", type=positive_count, nargs="+", default=[1000, 1_000_000], help="lengths of the arrays"
    )
    parser.add_argument("--rounds", type=positive_count, default=5, help="turns of each of the two")
    parser.add_argument("--json", type=output_file, help="where to write the machine, the versions and the figures")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.metrics) - set(names))
    if unknown:
        parser.error(f"unknown metric {unknown[0]!r}; known: {', '.join(names)}")
    print(compare_metrics(arguments.metrics, arguments.rows, arguments.rounds, arguments.json))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
