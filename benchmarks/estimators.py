"""Compare fastnn's MLPClassifier and MLPRegressor with scikit-learn's, in one run; README.md explains the figures."""

import argparse

from fastnn._command_line import output_file, positive_count
from fastnn.bench.estimators import CASES, compare_estimators


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="case", help=f"some of: {', '.join(CASES)}")
    parser.add_argument("--rounds", type=positive_count, default=7, help="turns of every contestant")
    parser.add_argument(
        "--threads", type=positive_count, nargs="*", default=[], help="numbers of threads (default: one; all cores)"
    )
    parser.add_argument("--json", type=output_file, help="where to write the machine, the versions and the figures")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.cases) - set(CASES))
    if unknown:
        parser.error(f"unknown case {unknown[0]!r}; known: {', '.join(CASES)}")
    print(compare_estimators(arguments.cases or list(CASES), arguments.rounds, arguments.threads, arguments.json))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
