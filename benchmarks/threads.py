"""Run the threads grid of the benchmarks; README.md in this folder explains it."""

from fastnn.bench.command import main

if __name__ == "__main__":
    raise SystemExit(main(["threads"]))
