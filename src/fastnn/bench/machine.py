"""The machine that the figures were measured on: processor, cores, system, Python."""

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np

__all__ = ["describe_machine", "n_cores", "versions"]


def n_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine() -> dict[str, Any]:
    """Names and numbers for the head of a report."""
    return {
        "processor": _processor_name(),
        "cores": n_cores(),
        "load": [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else [],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Installed versions by package; NumPy's with the BLAS that it uses."""
    found = {name: metadata.version(name) for name in distributions}
    if "numpy" in found:
        configuration = cast(dict[str, Any], np.show_config(mode="dicts"))
        blas = configuration.get("Build Dependencies", {}).get("blas", {})
        found["numpy"] += f" ({blas.get('name', 'unknown BLAS')} {blas.get('version', '')})"
    return found


def _processor_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        fields: dict[str, str] = {}
        for line in information.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            fields[name.strip()] = value.strip()
        if "model name" in fields:
            model = f"family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"
            return f"{fields['model name']} ({model})"
    return platform.processor() or platform.machine()
