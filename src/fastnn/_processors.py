"""The number of threads of the compiled core, and its configuration for bug reports."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

import fastnn._core as _core
from fastnn._arguments import takes_keywords, whole

MOST_THREADS = 1024


@takes_keywords
def set_num_threads(n: int) -> None:
    """Set the largest number of threads for all later calls in this process. Results do not depend on it.

    Networks and batches that are too small to gain use fewer threads. At most as many threads run as this process may
    use processors, although ``get_num_threads`` returns ``n``. The setting is shared by all Python threads.

    Parameters
    ----------
    n : whole number from 1 to 1024.

    Raises
    ------
    ValueError
        ``n`` is not a whole number from 1 to 1024.
    """
    _core.set_num_threads(whole("n", n, at_least=1, at_most=MOST_THREADS))


def get_num_threads() -> int:
    """Return the number of threads that was set; the default is the number of cores that this process may use."""
    return _core.get_num_threads()


@takes_keywords
@contextmanager
def threads(n: int) -> Iterator[None]:
    """Set ``n`` threads for a ``with`` block, as ``set_num_threads`` does; its end restores the previous number.

    Examples
    --------
    >>> import fastnn
    >>> with fastnn.threads(1):
    ...     fastnn.get_num_threads()
    1
    """
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        _core.set_num_threads(before)


def default_num_threads(environment: Mapping[str, str] = os.environ, root: str = "/") -> int:
    """Return the smallest of: usable cores, the container's CPU quota, and three environment variables.

    These are FASTNN_NUM_THREADS, OMP_NUM_THREADS and SLURM_CPUS_PER_TASK.

    Parameters
    ----------
    environment : environment variables.
    root : root of the file system that holds ``proc`` and ``sys``.

    Raises
    ------
    ValueError
        FASTNN_NUM_THREADS is not a whole number from 1 to 1024.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    limits = [MOST_THREADS, len(affinity(0)) if affinity is not None else os.cpu_count() or 1]
    quota = _cpu_quota(root)
    if quota is not None:
        limits.append(max(1, math.ceil(quota)))
    own = environment.get("FASTNN_NUM_THREADS", "").strip()
    if own:
        given = int(own) if own.isdecimal() else own
        limits.append(whole("FASTNN_NUM_THREADS", given, at_least=1, at_most=MOST_THREADS))
    # Other software reads these too, so values that mean nothing to fastnn are not errors. OpenMP allows a list with a
    # number for each level of nesting.
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        outer = environment.get(name, "").split(",")[0].strip()
        if outer.isdecimal() and int(outer) >= 1:
            limits.append(int(outer))
    return min(limits)


def _cpu_quota(root: str) -> float | None:
    """Return the CPUs that the control group (v1 or v2) may use, the minimum of its levels; None if unlimited."""
    groups = os.path.join(root, "sys/fs/cgroup")
    quotas = []
    for line in _lines(os.path.join(root, "proc/self/cgroup")):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, files = groups, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            top, files = os.path.join(groups, controllers), ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
            if not os.path.isdir(top):
                top = os.path.join(groups, "cpu")
        else:
            continue
        # A container may mount the group's own directory as the top, so the top is read too.
        level = path.strip("/")
        while True:
            words = [
                word for name in files for found in _lines(os.path.join(top, level, name)) for word in found.split()
            ]
            if len(words) == 2 and words[0].isdecimal() and int(words[0]) > 0:
                quotas.append(int(words[0]) / int(words[1]))
            if not level:
                break
            level = os.path.dirname(level)
    return min(quotas, default=None)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:
        return []


# Kernels that were tested, but not on a processor of their kind.
_UNTRIED = {
    "neon": "tested under an emulator, not on a processor",
}


def _kernels(isa: str, available: Sequence[str], asked: str, wide_rate: float) -> dict[str, str]:
    """Return which kernels are used and which are not, each with the reason."""
    why = f"by FASTNN_ISA={asked}" if asked else "by default"
    entries = {"instruction set": f"{isa}, {why} (available: {', '.join(available)})"}
    if isa in _UNTRIED:
        entries["untried"] = f"{isa}: {_UNTRIED[isa]}"
    if "avx512" in available:
        entries["AVX-512"] = f"{wide_rate:.1f} times as many multiply-adds a second as AVX2; the default from 1.5 on"
    if isa == "baseline":
        entries["bits"] = "different from those of processors with fused multiply-add"
    return entries


def show_config() -> None:
    """Print what a bug report needs: version, instruction set and the reason for it, threads and compiler."""
    import platform
    from importlib import metadata

    config = _core.config()
    entries = {
        "fastnn": metadata.version("fastnn"),
        **_kernels(config["isa"], config["isas"], os.environ.get("FASTNN_ISA", ""), config["wide_rate"]),
        "threads": get_num_threads(),
        "compiler": config["compiler"],
        "OpenMP": config["openmp"],
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "platform": platform.platform(),
    }
    width = max(map(len, entries))
    print("\n".join(f"{name:<{width}}  {value}" for name, value in entries.items()))
