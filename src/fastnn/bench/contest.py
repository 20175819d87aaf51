"""The parent's side: a process per contestant and thread count, compared first and then timed in turns."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from fastnn.bench.contestants import CONTESTANTS, keras_backend
from fastnn.bench.machine import n_cores
from fastnn.bench.networks import Network

__all__ = [
    "Competitor",
    "KeptFit",
    "PeakMeter",
    "Schedule",
    "Timing",
    "WorkerError",
    "ask_all",
    "open_competitors",
    "pace_of",
    "take_turns",
]

E = TypeVar("E", bound="Entrant")

_PACE_TURNS = 3
_PAUSE = 0.02  # seconds between turns, in which idle threads of the last one stop spinning and go to sleep


class WorkerError(RuntimeError):
    """A contestant's process failed; the message ends with the process's output."""


@dataclass(frozen=True)
class Schedule:
    """How long to measure: ``rounds`` turns of about ``seconds`` for every competitor."""

    rounds: int
    seconds: float

    @classmethod
    def quick(cls) -> "Schedule":
        """Return a few short turns."""
        return cls(rounds=4, seconds=0.1)

    @classmethod
    def full(cls) -> "Schedule":
        """Return turns long enough to average over interruptions, and enough of them for a steady best."""
        return cls(rounds=9, seconds=0.4)


@dataclass
class Timing:
    """Microseconds per unit of work (step or call), one number per round."""

    name: str
    n_threads: int
    microseconds: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The shortest round."""
        return min(self.microseconds)

    @property
    def median(self) -> float:
        """The median round."""
        return statistics.median(self.microseconds)


class Entrant(Protocol):
    """A process, or one of several tasks of a process, that takes turns."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def n_threads(self) -> int:
        """Number of threads that it runs on."""


class Competitor:
    """A process that runs one contestant on a given number of threads."""

    def __init__(self, name: str, n_threads: int) -> None:
        self.name = name
        self.n_threads = n_threads
        arguments = [name, str(n_threads)]
        if CONTESTANTS[name].pinned and n_threads == 1 and hasattr(os, "sched_getaffinity"):
            arguments.append(str(max(os.sched_getaffinity(0))))
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fastnn.bench.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=_environment(n_threads),
        )

    def builds(self, network: Network) -> bool:
        """Whether the contestant can build a network of this shape, with its activation and optimizer."""
        entrant = CONTESTANTS[self.name]
        is_plain = (network.activation, network.optimizer) == ("relu", "adam")
        return (network.shape == "chain" or entrant.graphs) and (is_plain or not entrant.only_plain)

    def send(self, command: str, **arguments: Any) -> None:
        """Send one request without waiting for its answer."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the process has ended; `receive` reads its output
            print(json.dumps({"command": command, **arguments}), file=self._process.stdin, flush=True)

    def receive(self) -> dict[str, Any]:
        """Wait for the answer to the oldest unanswered request."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": self._last_output()}
        if "error" in answer:
            raise WorkerError(f"{self.name} on {self.n_threads} threads failed:\n{answer['error']}")
        return answer

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        self.send(command, **arguments)
        return self.receive()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _last_output(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        return self._errors.read()[-2000:]


@dataclass(frozen=True)
class KeptFit:
    """One of the fits that a fastnn process keeps (`fastnn.bench.fits`); ``name`` is its key."""

    name: str
    n_threads: int
    competitor: Competitor

    def turn(self, epochs: int) -> tuple[float, float]:
        """Train; return seconds and steps."""
        answer = self.competitor.ask("measure", function="fits.run", arguments={"key": self.name, "epochs": epochs})
        return answer["seconds"], answer["steps"]


def _environment(n_threads: int) -> dict[str, str]:
    environment = dict(os.environ)
    # Settings of OpenBLAS that a user's machine would not have.
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(name, None)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FASTNN_NUM_THREADS"):
        environment[name] = str(n_threads)
    environment["JAX_PLATFORMS"] = "cpu"
    environment["CUDA_VISIBLE_DEVICES"] = ""
    backend = keras_backend()
    if backend is not None:
        environment["KERAS_BACKEND"] = backend
    return environment


@contextmanager
def open_competitors(names: Iterable[str], thread_counts: Sequence[int] | None = None) -> Any:
    """Start the processes of the named contestants, each on 1 and on all cores; end them afterwards."""
    counts = sorted({1, n_cores()}) if thread_counts is None else thread_counts
    with ExitStack() as stack:
        competitors = []
        for name in names:
            for n_threads in counts if CONTESTANTS[name].threaded else [1]:
                competitor = Competitor(name, n_threads)
                stack.callback(competitor.close)
                competitors.append(competitor)
        yield competitors


def ask_all(
    requests: Mapping[Competitor, Sequence[tuple[str, dict[str, Any]]]], problems: list[str]
) -> dict[Competitor, dict[str, Any]]:
    """Send each competitor all its requests at once; return the last answers.

    A competitor that fails is left out and its error is added to the problems. The processes work at the same time and
    disturb each other, so this is for preparations, not for timings.
    """
    for competitor, queue in requests.items():
        for command, arguments in queue:
            competitor.send(command, **arguments)
    answers: dict[Competitor, dict[str, Any]] = {}
    for competitor, queue in requests.items():
        errors = []
        for _ in queue:
            try:
                answers[competitor] = competitor.receive()
            except WorkerError as error:
                errors.append(str(error))
        if errors:
            answers.pop(competitor, None)
            problems.append(errors[0])
    return answers


def take_turns(
    competitors: Sequence[E],
    turn: Callable[[E, int], tuple[float, float]],
    schedule: Schedule,
    between: Callable[[], None] | None = None,
) -> list[Timing]:
    """Time the competitors in interleaved rounds.

    Parameters
    ----------
    turn : function
        ``turn(competitor, amount)`` works and returns (seconds, units of work done). The first turns choose the
        integer amount such that a turn takes about ``schedule.seconds``.
    between : function, optional
        Called once per round, for measurements that accompany the timings.

    Returns
    -------
    list of Timing
        The better thread count of each contestant, by the median of its rounds, in the order of the competitors.
    """
    paces = {competitor: pace_of(competitor, turn, schedule.seconds) for competitor in competitors}
    fastest: dict[str, float] = {}
    for competitor, (_, pace) in paces.items():
        fastest[competitor.name] = min(pace, fastest.get(competitor.name, pace))
    # A thread count that is much slower than the contestant's other one does not run the rounds.
    timings = {
        competitor: Timing(competitor.name, competitor.n_threads)
        for competitor, (_, pace) in paces.items()
        if pace <= 1.5 * fastest[competitor.name]
    }
    for _ in range(schedule.rounds):
        for competitor in timings:
            time.sleep(_PAUSE)
            seconds, units = turn(competitor, paces[competitor][0])
            timings[competitor].microseconds.append(1e6 * seconds / units)
        if between is not None:
            between()
    best: dict[str, Timing] = {}
    for timing in timings.values():
        if timing.name not in best or timing.median < best[timing.name].median:
            best[timing.name] = timing
    return list(best.values())


def pace_of(competitor: E, turn: Callable[[E, int], tuple[float, float]], seconds: float) -> tuple[int, float]:
    """Return the amount of work that takes ``seconds``, and the fewest seconds per unit in a few turns.

    The first turn warms up.
    """
    turn(competitor, 1)
    amount, paces = 1, list[float]()
    while len(paces) < _PACE_TURNS:
        time.sleep(_PAUSE)
        taken, units = turn(competitor, amount)
        if taken > 0.3 * seconds:
            paces.append(taken / units)
        else:
            amount = max(2 * amount, min(20 * amount, round(0.5 * amount * seconds / taken)))
    return max(1, round(seconds / (min(paces) * units / amount))), min(paces)


class PeakMeter:
    """The multiply-add peak of one thread and of the most threads that a fastnn process has.

    Each measurement is the mean over ``seconds``, which is as long as a contestant's turn. Relative to such a mean, a
    figure describes the code; relative to the best millisecond, it would also describe the load of the machine.
    """

    def __init__(self, competitors: Sequence[Competitor], seconds: float) -> None:
        fastnn = [competitor for competitor in competitors if competitor.name == "fastnn"]
        self._competitor = max(fastnn, key=lambda competitor: competitor.n_threads, default=None)
        self._seconds = seconds
        self.peaks: dict[int, float] = {}
        """GFLOP/s by number of threads, the best measurements so far; empty if no fastnn process takes part."""

    @property
    def peak(self) -> float | None:
        """GFLOP/s of the most threads; None if no fastnn process takes part."""
        return self.peaks[max(self.peaks)] if self.peaks else None

    def measure(self) -> None:
        """Measure once more."""
        if self._competitor is None:
            return
        for n_threads in {1, self._competitor.n_threads}:
            arguments = {"n_threads": n_threads, "seconds": self._seconds}
            answer = self._competitor.ask("measure", function="limits.fma_peak", arguments=arguments)
            self.peaks[n_threads] = max(answer["gflops"], self.peaks.get(n_threads, 0.0))
