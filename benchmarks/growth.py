"""Run the growth grid of the benchmarks, or with --memmap files larger than memory; README.md explains them."""

import sys

from fastnn.bench.command import main
from fastnn.bench.memory_maps import main as measure_memory_maps

if __name__ == "__main__":
    if "--memmap" in sys.argv:
        raise SystemExit(measure_memory_maps([each for each in sys.argv[1:] if each != "--memmap"]))
    raise SystemExit(main(["growth"]))
