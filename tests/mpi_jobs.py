"""Starting MPI jobs, for tests and nightly scripts."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
LAUNCHER = shutil.which("mpiexec", path=os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", ""))))
MISSING = (
    None if importlib.util.find_spec("mpi4py") and LAUNCHER else "needs mpi4py and mpiexec: pip install mpi4py mpich"
)

# Open MPI starts neither as root nor more ranks than processors, unless it is told to.
_ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def run_job(n_ranks, script, *arguments, timeout=120):
    """Run a script of this folder on some ranks; return the finished process, or raise TimeoutExpired."""
    assert LAUNCHER is not None
    command = [LAUNCHER, "-n", str(n_ranks), sys.executable, str(TESTS / script), *map(str, arguments)]
    environment = {**os.environ, **_ENVIRONMENT}
    return subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", timeout=timeout)
