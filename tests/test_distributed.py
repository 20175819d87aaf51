"""fastnn.distributed: real MPI jobs give the bits of one process, and end together."""

import json
import random
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest
from mpi_jobs import MISSING, TESTS, run_job

import fastnn
from fastnn import _ranks

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@pytest.fixture(scope="module")
def alone():
    """What one process trains, by name."""
    run = subprocess.run(
        [sys.executable, str(TESTS / "distributed_bits.py")], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def fitted_alone(tmp_path_factory):
    """The folder in which one process has written what distributed_job.py writes."""
    folder = tmp_path_factory.mktemp("alone")
    script = str(TESTS / "distributed_job.py")
    subprocess.run([sys.executable, script, "quiet", str(folder)], stdout=subprocess.DEVNULL, check=True)
    return folder


@pytest.mark.parametrize("way", ["ranks", "messages"])
@pytest.mark.parametrize("n_ranks", [2, 4])
def test_ranks_train_the_bits_of_one_process(alone, n_ranks, way):
    job = run_job(n_ranks, "distributed_bits.py", way)
    assert job.returncode == 0, job.stderr
    found = json.loads(job.stdout)
    assert found.keys() == alone.keys()
    assert not [name for name in alone if found[name] != alone[name]]


def test_ranks_of_one_machine_exchange_few_messages_unless_there_is_no_memory():
    ways = ("ranks", "messages", "no memory")
    shared, messages, no_memory = (json.loads(run_job(2, "distributed_volume.py", way).stdout) for way in ways)
    assert messages["sum"] == shared["sum"] == no_memory["sum"]
    assert no_memory["bytes"] >= messages["bytes"]
    assert messages["bytes"] > 40 * messages["weights"]
    # moments at the end of an epoch, and what ranks compare
    assert shared["bytes"] < 4 * messages["weights"]
    assert shared["exchanges"] < messages["exchanges"] / 4


def test_rank_0_writes_and_prints(tmp_path, fitted_alone):
    job = run_job(2, "distributed_job.py", "ok", tmp_path)
    assert job.returncode == 0, job.stderr
    # Open MPI runs a rank on a terminal, where a line of fit begins with a carriage return
    lines = [line for line in job.stdout.splitlines() if line]
    assert lines[-1] == "rank 0 of 2: 12 epochs"
    assert len(lines) == 13
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 13
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.fnn", "log.csv", "model.fnn", "predictions.npy"]
    for name in ("best.fnn", "log.csv", "model.fnn", "predictions.npy"):
        assert (tmp_path / name).read_bytes() == (fitted_alone / name).read_bytes()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "ValueError: an exception on one rank"),
        ("leave", "the ranks do different things"),
        ("change weights", "the ranks have different weights: a callback has set them on some ranks only"),
        ("change the rate", "the ranks have different learning rates, which a callback has set"),
        ("different rows", "the ranks have different rows: rank 1 differs from rank 0"),
        ("different calls", "the ranks do different things"),
    ],
)
def test_a_job_ends_when_its_ranks_part(tmp_path, how, message):
    job = run_job(2, "distributed_job.py", how, tmp_path, timeout=60)
    assert job.returncode != 0
    assert message in job.stderr
    assert "fastnn: rank " in job.stderr and " of 2 ends the job:" in job.stderr


def test_an_exit_status_is_that_of_the_job(tmp_path):
    job = run_job(2, "distributed_job.py", "exit", tmp_path, timeout=60)
    assert job.returncode == 7


def test_all_ranks_stop_where_one_asks_for_it_and_draw_the_seeds_of_rank_0(tmp_path):
    stopped = run_job(2, "distributed_job.py", "stop", tmp_path)
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout == "rank 0 of 2: 5 epochs\n"
    unseeded = run_job(2, "distributed_job.py", "no seed", tmp_path)
    assert unseeded.returncode == 0, unseeded.stderr


@pytest.mark.parametrize("step", random.Random(1).sample(range(10, 100), 2))
def test_a_fit_that_lost_a_rank_resumes_with_the_same_bits(tmp_path, fitted_alone, step):
    lost = run_job(2, "distributed_job.py", "kill", tmp_path, step, timeout=60)
    assert lost.returncode != 0
    resumed = run_job(2, "distributed_job.py", "quiet", tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "model.fnn").read_bytes() == (fitted_alone / "model.fnn").read_bytes()


def test_a_block_of_one_process_changes_nothing():
    with fastnn.distributed.mpi() as ranks:
        assert (ranks.rank, ranks.size) == (fastnn.distributed.rank(), fastnn.distributed.size()) == (0, 1)
        assert _ranks.current() is None
        with pytest.raises(KeyError), fastnn.distributed.mpi(shared_memory=False):
            raise KeyError("as it is")
    with pytest.raises(ValueError, match="shared_memory must be True or False, got 1"):
        fastnn.distributed.mpi(shared_memory=1).__enter__()
    with pytest.raises(ValueError, match="least_operations must be"), fastnn.distributed.mpi(least_operations=-1):
        pass


@pytest.mark.parametrize("error", [ImportError("no module"), RuntimeError("cannot load MPI library")])
def test_what_is_missing_is_named_with_the_line_that_installs_it(monkeypatch, error):
    class _Missing:
        def find_spec(self, name, path=None, target=None):
            if name == "mpi4py.MPI":
                raise error

    monkeypatch.delitem(sys.modules, "mpi4py.MPI", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_Missing(), *sys.meta_path])
    with pytest.raises(ImportError, match="pip install"), fastnn.distributed.mpi():
        pass


class _TwoInOneProcess:
    """Ranks of which this process is the first; the second one always gives what this one gives, or something else."""

    rank, size, least_operations = 0, 2, 0.0

    def __init__(self, other=None):
        self.other = other

    def gather(self, memory, first):
        raise OSError("the network is down")

    def tell(self, what, value=b""):
        return [value, value if self.other is None else self.other]


def test_an_error_of_the_exchange_ends_a_fit():
    model = fastnn.Sequential([fastnn.layers.Dense(1)], seed=1)
    model.compile("sgd", "mse")
    X = np.ones((64, 2), "f4")
    undo = _ranks.set_current(_TwoInOneProcess())
    try:
        with pytest.raises(OSError, match="the network is down"):
            model.fit(X, X[:, :1], verbose=0)
        with pytest.raises(RuntimeError, match="inside another block"), fastnn.distributed.mpi():
            pass
    finally:
        undo()
    model.fit(X, X[:, :1], verbose=0)


def test_ranks_with_different_instruction_sets_are_refused():
    enter = fastnn.distributed._enter
    with ExitStack() as stack, pytest.raises(RuntimeError, match=r"rank 1 with mmx\. Set .* FASTNN_ISA"):
        enter(_TwoInOneProcess(b"mmx"), stack)
    assert _ranks.current() is None


def test_a_checksum_shows_every_weight_and_state():
    model = fastnn.Sequential([fastnn.layers.Dense(5), fastnn.layers.BatchNormalization()], seed=1)
    model.build((None, 3))
    weights, network = model.get_weights(), model.network
    sums = {network.weights_checksum()}
    for number, weight in enumerate(weights):
        for place in np.ndindex(weight.shape):
            changed = [each.copy() for each in weights]
            changed[number][place] = np.nextafter(changed[number][place], np.float32(2))
            model.set_weights(changed)
            sums.add(network.weights_checksum())
    assert len(sums) == 1 + sum(weight.size for weight in weights)
    model.set_weights([each * np.float32(-1) for each in weights])
    assert network.weights_checksum() not in sums
    model.set_weights(weights)
    assert network.weights_checksum() in sums


class _Counted(_TwoInOneProcess):
    """Counts the chunk sums that travel; the other rank's are 0."""

    def __init__(self):
        super().__init__()
        self.sums = []

    def gather(self, memory, first):
        memory[first[1] : first[2]] = bytes(first[2] - first[1])

    start_gather = gather

    def start_scatter(self, parts, first, received, received_first):
        self.sums.append(received_first[-1])

    def finish(self):
        pass


@pytest.mark.parametrize(
    ("batch_size", "units", "travels"),
    [
        (512, 64, "sums"),
        (256, 64, "rows"),  # one chunk
        (700, 64, "rows"),  # three chunks: one rank would have twice as many as the other
        (512, 4096, "rows"),  # fewer numbers than there are weights
    ],
)
def test_sums_of_chunks_travel_where_they_are_less_than_the_rows(batch_size, units, travels):
    ranks = _Counted()
    model = fastnn.Sequential([fastnn.layers.Dense(units, activation="relu"), fastnn.layers.Dense(units)], seed=1)
    model.compile("sgd", "mse")
    X = np.ones((batch_size, 4096 if units == 4096 else 8), "f4")
    undo = _ranks.set_current(ranks)
    try:
        model.fit(X, np.ones((batch_size, units), "f4"), batch_size=batch_size, epochs=1, verbose=0)
    finally:
        undo()
    weights = 4 * sum(weight.size for weight in model.get_weights())
    # two chunks of the rank's half of the weights
    assert sum(ranks.sums) == (pytest.approx(weights, rel=0.05) if travels == "sums" else 0)


def test_a_rank_reads_its_part_of_a_source(monkeypatch):
    X = np.random.default_rng(0).normal(size=(800, 3)).astype("f4")
    source = fastnn.data.source(X, X[:, :1], block_rows=50, window=4)
    model = fastnn.Sequential([fastnn.layers.Dense(1)], seed=1)
    model.compile("sgd", "mse")
    blocks = []
    read = type(source).read

    def recorded(self, begin, end, out=None):
        blocks.append((begin, end))
        return read(self, begin, end, out)

    monkeypatch.setattr(type(source), "read", recorded)
    undo = _ranks.set_current(_Counted())
    try:
        model.fit(source, batch_size=50, epochs=1, shuffle=False, verbose=0)
    finally:
        undo()
    assert set(blocks) == {(start, start + 50) for k in range(4) for start in (200 * k, 200 * k + 50)}


def test_an_error_of_rank_0_is_raised_on_the_others(tmp_path):
    undo = _ranks.set_current(_TwoInOneProcess())
    try:
        with pytest.raises(FileNotFoundError):
            fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(3)]).save(tmp_path / "missing" / "model.fnn")
        other = _TwoInOneProcess()
        other.rank = 1
        other.tell = lambda what, value=b"": [b"failed", value]
        undo_second = _ranks.set_current(other)
        with pytest.raises(OSError, match="rank 0 has failed: write"):
            fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(3)]).save(tmp_path / "model.fnn")
        undo_second()
        assert not (tmp_path / "model.fnn").exists()
    finally:
        undo()
