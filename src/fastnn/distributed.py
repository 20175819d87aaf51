"""Training on several machines: one ordinary script on every rank of an MPI job.

Every process, called a rank, runs the same script on the same data. Inside ``with fastnn.distributed.mpi():`` ``fit``
divides the rows of each batch and the weights between the ranks. All numbers are computed in the order in which one
process computes them: weights, losses and metrics have the same bits for any number of ranks.

Needs mpi4py and an MPI library: ``pip install mpi4py mpich``, or the ``mpi4py`` of the cluster.

Examples
--------
In ``train.py``, which ``mpiexec -n 4 python train.py`` starts::

    with fastnn.distributed.mpi():
        model = fastnn.Sequential([fastnn.layers.Dense(256, activation="relu"), fastnn.layers.Dense(1)], seed=0)
        model.compile("adam", "mse")
        model.fit(X, y, epochs=20, batch_size=4096)
        model.save("model.fnn")
"""

import mmap
import os
import secrets
import struct
import sys
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

import fastnn._core as _core
import fastnn._randomness as _randomness
import fastnn._ranks as _ranks
from fastnn._arguments import flag, installed, number, takes_keywords
from fastnn._missing import public_names
from fastnn._processors import get_num_threads, threads

__all__ = ["mpi", "rank", "size"]

LEAST_OPERATIONS = 4e6
"""An exchange costs tens of microseconds: a smaller step is quicker as a whole."""

_SPINS = 200
"""Tests of an exchange, about 50 us, before a rank gives way to other processes after each."""

_NATIVE_WAITS = 2000
"""The same in compiled code, about 25 us."""

_give_way = getattr(os, "sched_yield", lambda: None)

_LABEL, _VALUE = 96, 32
"""Bytes of what ranks tell each other: a name, a length and a value."""

_TOKEN = 16
"""Bytes at the end of common memory by which ranks see that they have opened the same."""


class _MpiRanks:
    """The ranks of an MPI communicator (``_ranks.Ranks``)."""

    def __init__(self, comm: Any, least_operations: float, shared_memory: bool, MPI: Any) -> None:
        self._comm = comm.Dup()
        self._in_place, self._byte = MPI.IN_PLACE, MPI.BYTE
        self.rank: int = comm.Get_rank()
        self.size: int = comm.Get_size()
        self.least_operations = least_operations
        self.n_exchanges = self.n_bytes = 0
        self._requests: list[Any] = []
        processors, n_local = _shared_processors(comm, MPI)
        self._spins = _SPINS if n_local <= processors else 0
        share = min(get_num_threads(), max(1, processors // n_local))
        self.n_threads: int = self._comm.allreduce(share, op=MPI.MIN)
        self.n_waits = _NATIVE_WAITS if n_local <= processors else 0
        can_share = shared_memory and n_local == self.size > 1 and hasattr(os, "memfd_create")
        self._kept: mmap.mmap | None = None
        self._lent: Callable[[], memoryview | None] = lambda: None
        self.n_begun: memoryview | None = None
        if self._comm.allreduce(int(can_share), op=MPI.MIN):
            counts = self.share(8 * self.size)
            self.n_begun = None if counts is None else counts.cast("q")
            self._kept = None

    def share(self, n_bytes: int) -> memoryview | None:
        """Return memory that all ranks of this machine have in common, zeroed; None on all of them where one has none.

        It belongs to the caller until the view is gone; then the next caller gets it, because new pages take long.
        """
        kept = self._kept is not None and self._lent() is None and len(self._kept) >= n_bytes + _TOKEN
        if all(told != b"\0" for told in self.tell("common memory", bytes([kept]))):
            assert self._kept is not None
            first, last = (n_bytes * rank // self.size for rank in (self.rank, self.rank + 1))
            np.frombuffer(self._kept, np.uint8)[first:last] = 0
        else:
            self._kept = None
            self._kept = self._new_memory(n_bytes + _TOKEN)
        ready = self.tell("common memory", bytes([self._kept is not None]))
        if any(told == b"\0" for told in ready):
            return None
        assert self._kept is not None
        view = memoryview(self._kept)[:n_bytes]
        self._lent = weakref.ref(view)
        return view

    def _new_memory(self, n_bytes: int) -> mmap.mmap | None:
        """Return new memory that all ranks have in common, which ends with a token; None where this rank has none."""
        descriptor, parts, token = -1, struct.Struct(f"<ii{_TOKEN}s"), secrets.token_bytes(_TOKEN)
        if not self.rank:
            with suppress(OSError):
                descriptor = os.memfd_create("fastnn")
                os.posix_fallocate(descriptor, 0, n_bytes)
                os.pwrite(descriptor, token, n_bytes - _TOKEN)
        told = self.tell("new common memory", parts.pack(os.getpid(), descriptor, token))
        process, number, token = parts.unpack(told[0])
        memory = None
        with suppress(OSError, ValueError):
            if self.rank:
                descriptor = os.open(f"/proc/{process}/fd/{number}", os.O_RDWR)
            memory = mmap.mmap(descriptor, n_bytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self.tell("new common memory")
        if descriptor >= 0:
            os.close(descriptor)
        return memory if memory is not None and memory[-_TOKEN:] == token else None

    def gather(self, memory: memoryview, first: list[int]) -> None:
        """Fill a buffer that every rank has: rank r gives the bytes from ``first[r]`` to ``first[r + 1]``."""
        if self.n_begun is not None:
            self.n_begun[self.rank] += 1
        self._wait(self._begin_gather(memory, first))

    def start_gather(self, memory: memoryview, first: list[int]) -> None:
        """Begin ``gather``; the buffer is filled when ``finish`` returns."""
        self._requests.append(self._begin_gather(memory, first))

    def start_scatter(
        self, parts: memoryview, first: list[int], received: memoryview, received_first: list[int]
    ) -> None:
        """Begin an exchange: rank r gets the bytes of ``parts`` from ``first[r]``, and gives those at its place."""
        self._count(received_first)
        self._requests.append(
            self._comm.Ialltoallv(
                [parts, (_counts(first), first[:-1]), self._byte],
                [received, (_counts(received_first), received_first[:-1]), self._byte],
            )
        )

    def finish(self) -> None:
        """Wait for all exchanges that have begun."""
        while self._requests:
            self._wait(self._requests.pop(0))

    def _begin_gather(self, memory: memoryview, first: list[int]) -> Any:
        self._count(first)
        return self._comm.Iallgatherv(self._in_place, [memory, (_counts(first), first[:-1]), self._byte])

    def _count(self, first: list[int]) -> None:
        self.n_exchanges += 1
        self.n_bytes += first[-1] - first[0] - (first[self.rank + 1] - first[self.rank])

    def _wait(self, request: Any) -> None:
        spins = self._spins
        while not request.Test():
            # The blocking call would spin for ever, although the other ranks may need the processor.
            spins -= 1
            if spins < 0:
                _give_way()

    def tell(self, what: str, value: bytes = b"") -> list[bytes]:
        """Return what each rank gives; raise RuntimeError where the ranks do not do the same, which ``what`` names."""
        label = what.encode()[:_LABEL].ljust(_LABEL, b"\0")
        own = label + struct.pack("<I", len(value)) + value.ljust(_VALUE, b"\0")
        each = len(own)
        memory = bytearray(each * self.size)
        memory[self.rank * each : (self.rank + 1) * each] = own
        self.gather(memoryview(memory), [r * each for r in range(self.size + 1)])
        told = [bytes(memory[r * each : (r + 1) * each]) for r in range(self.size)]
        for other, message in enumerate(told):
            if message[:_LABEL] != label:
                theirs = message[:_LABEL].rstrip(b"\0").decode(errors="replace")
                raise RuntimeError(
                    f"the ranks do different things: rank {self.rank}: {what!r}, rank {other}: {theirs!r}. Every rank "
                    "must make the same calls of fit and save"
                )
        start = _LABEL + 4
        return [message[start : start + struct.unpack_from("<I", message, _LABEL)[0]] for message in told]

    def free(self) -> None:
        """Give the communicator back."""
        self._comm.Free()

    def abort(self, status: int) -> None:
        """End all processes of the job."""
        self._comm.Abort(status)


@takes_keywords
@contextmanager
def mpi(comm: Any = None, *, least_operations: float = LEAST_OPERATIONS, shared_memory: bool = True) -> Iterator[Any]:
    """Train on all ranks of an MPI job: ``fit`` in this block divides its steps between them.

    Every rank must run the same statements on the same arrays. In the block

    - ``fit`` gives the same weights, history and decisions on every rank, with the bits of one process;
    - random seeds that are not given are those of rank 0;
    - what fastnn saves is written by rank 0, and ``print`` prints on rank 0 only;
    - each rank uses its share of the node's processors, unless the launcher binds it or a variable such as
      ``OMP_NUM_THREADS`` says less;
    - an exception on one rank ends the job: its text and its rank go to the standard error output, and the status is
      not 0.

    Outside of ``fit`` and ``train_on_batch`` every rank does everything itself, as without MPI. So it does the steps of
    Levenberg-Marquardt and L-BFGS, which take all rows.

    Parameters
    ----------
    comm : an mpi4py communicator; None for all processes of the job.
    least_operations : floating-point operations, six per weight and row of a batch, from which the ranks divide a step.
        Every rank makes a smaller step as a whole: that takes less time than the exchange.
    shared_memory : ranks that are all on one Linux machine keep the rows of a batch and the weights in memory that they
        have in common. False: they exchange messages, as ranks on several machines do.

    Yields
    ------
    ranks
        with ``rank``, the number of this process from 0; ``size``, the number of processes; ``n_exchanges`` and
        ``n_bytes``, the messages so far and what this rank has received in them.

    Raises
    ------
    ImportError
        mpi4py, or an MPI library, is not installed.
    RuntimeError
        The block is inside another one, or the ranks do not do the same or compute with different instruction sets.
    """
    operations = number("least_operations", least_operations, at_least=0)
    shares = flag("shared_memory", shared_memory)
    if _ranks.current() is not None:
        raise RuntimeError("fastnn.distributed.mpi() is inside another block of it: use one block")
    try:
        MPI = installed("mpi4py.MPI", "fastnn.distributed.mpi", extra="mpi")
    except RuntimeError as error:
        raise ImportError(
            f"fastnn.distributed.mpi needs an MPI library, which mpi4py has not found ({error}): pip install mpich, or "
            "load the MPI module of the cluster"
        ) from error
    world = MPI.COMM_WORLD if comm is None else comm
    if not isinstance(world, MPI.Comm):
        raise ValueError(f"comm must be an mpi4py communicator, or None for all processes of the job, got {comm!r}")
    ranks = _MpiRanks(world, operations, shares, MPI)
    with ExitStack() as stack, _ending_together(ranks):
        _enter(ranks, stack)
        yield ranks


@contextmanager
def _ending_together(ranks: _MpiRanks) -> Iterator[None]:
    """Wait for all ranks at the end of the block; end the job where an exception leaves it."""
    end = "the end of the block mpi()"
    try:
        try:
            yield
        except SystemExit as error:
            if error.code:
                raise
            ranks.tell(end)
            raise
        ranks.tell(end)
    except BaseException as error:
        if ranks.size > 1 and not (isinstance(error, SystemExit) and not error.code):
            _end_job(ranks, error)
        raise
    ranks.free()


def _enter(ranks: _MpiRanks, stack: ExitStack) -> None:
    """Make a process a rank until the stack is closed."""
    told = ranks.tell("the begin of the block mpi()", str(_core.config()["isa"]).encode())
    for other, isa in enumerate(told):
        if isa != told[0]:
            raise RuntimeError(
                f"the ranks compute with different instruction sets: rank 0 with {told[0].decode()}, rank {other} with "
                f"{isa.decode()}. Set the environment variable FASTNN_ISA to one that all machines have"
            )
    if ranks.size == 1:
        return
    stack.callback(_ranks.set_current(ranks))
    stack.enter_context(threads(ranks.n_threads))
    seed = ranks.tell("the seed", struct.pack("<Q", _randomness.draw_seed()))[0]
    stack.enter_context(_randomness.global_seed(*struct.unpack("<Q", seed)))
    if ranks.rank:
        stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")


def _shared_processors(comm: Any, MPI: Any) -> tuple[int, int]:
    """Return the processors that the ranks of this node may use, and the number of these ranks."""
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    together = set().union(*node.allgather(own))
    n_local = node.Get_size()
    node.Free()
    return len(together), n_local


def _end_job(ranks: _MpiRanks, error: BaseException) -> None:
    """Print an exception with its rank, and end all ranks."""
    text = "".join(traceback.format_exception(error))
    with suppress(OSError, ValueError):
        sys.stderr.write(f"fastnn: rank {ranks.rank} of {ranks.size} ends the job:\n{text}")
        sys.stderr.flush()
    status = 130 if isinstance(error, KeyboardInterrupt) else 1
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        status = error.code & 0xFF or 1
    ranks.abort(status)


def _counts(first: list[int]) -> list[int]:
    """Return the number of bytes of each rank."""
    return [end - begin for begin, end in pairwise(first)]


def rank() -> int:
    """Return the number of this process among the ranks, from 0; 0 outside of ``mpi()``."""
    ranks = _ranks.current()
    return 0 if ranks is None else ranks.rank


def size() -> int:
    """Return the number of ranks; 1 outside of ``mpi()``."""
    ranks = _ranks.current()
    return 1 if ranks is None else ranks.size


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
