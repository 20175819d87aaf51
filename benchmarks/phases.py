"""The phases grid of fastnn's benchmarks; README.md beside this file says how to read it."""

from fastnn.bench.command import main

if __name__ == "__main__":
    raise SystemExit(main(["phases"]))
