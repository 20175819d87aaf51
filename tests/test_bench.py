"""The benchmark harness: what it trains, that contestants agree, and that it reports those that do not."""

import json
import math

import numpy as np
import pytest

from fastnn.bench import contest, contestants, fits, networks, phases, report, training
from fastnn.bench.metrics import CASES, compare_metrics
from fastnn.bench.products import compare_products
from fastnn.bench.training import compare_training


def test_flops_by_hand():
    # 5-32-32-3 has 160 + 1024 + 96 weights; each takes 2 operations in forward, dW and dX, but dX skips the first 160.
    submarine = networks.NETWORKS["submarine"]
    assert submarine.n_weights == 1280
    assert submarine.flops_per_step == 32 * (6 * 1280 - 2 * 160) == 235_520


@pytest.mark.parametrize("name", [name for name in networks.NETWORKS if name != "wide"])
def test_every_network_has_data_of_its_shape(name):
    network = networks.NETWORKS[name]
    X, y = networks.network_data(network)
    assert X.shape == (network.n_rows, network.sizes[0])
    assert X.dtype == np.float32 and X.flags.c_contiguous
    if network.loss == "sparse_categorical_crossentropy":
        assert set(y[: network.batch_size]) == set(range(network.sizes[-1]))
    else:
        assert y.shape == (network.n_rows, network.sizes[-1]) and y.dtype == np.float32
    weights = networks.network_weights(network)
    assert [w.shape for w in weights[::2]] == network.kernels
    if network.shape == "chain":
        assert network.kernels == list(zip(network.sizes[:-1], network.sizes[1:], strict=True))
    assert sum(x.shape[1] for x in network.inputs(X)) == X.shape[1]
    assert not any(bias.any() for bias in weights[1::2])
    assert np.isfinite(X).all() and np.isfinite(y).all()


def test_networks_that_are_no_chains_by_hand():
    wide_and_deep, two_tower = networks.NETWORKS["wide-and-deep"], networks.NETWORKS["two-tower"]
    assert wide_and_deep.kernels == [(100, 256), (256, 256), (256, 256), (256, 1), (100, 1)]
    assert wide_and_deep.label == "wide-and-deep (100-256-256-256-1)+(100-1) b256"
    # dX is computed for the kernels 256-256, 256-256 and 256-1 only
    chain = networks.NETWORKS["tabular"]
    assert wide_and_deep.flops_per_step == chain.flops_per_step + 256 * 4 * 100
    assert two_tower.kernels == [(64, 64), (64, 64), (128, 3)]
    assert two_tower.label == "two-tower 64-64/64-64-128-3 b64"
    assert two_tower.flops_per_step == 64 * (4 * 2 * 64 * 64 + 6 * 128 * 3)


GRAPHS = ("wide-and-deep", "two-tower")
WITH_TANH = ("opennn-higgs", "simplechains")


@pytest.mark.parametrize("name", ["jax", "pytorch", "numpy", "scikit-learn", "keras", "python"])
@pytest.mark.parametrize("network", ["ground-motion", "binary", "digits", *GRAPHS, *WITH_TANH])
def test_contestants_train_as_fastnn_does(name, network, monkeypatch):
    entrant = contestants.CONTESTANTS[name]
    if (network in GRAPHS and not entrant.graphs) or (network in WITH_TANH and entrant.only_plain):
        with contest.open_competitors([name], [1]) as (competitor,):
            assert not competitor.builds(networks.NETWORKS[network])
        return
    if not contestants.installed(contestants.CONTESTANTS[name]):
        pytest.skip(f"{name} is not installed")
    monkeypatch.setenv("KERAS_BACKEND", contestants.keras_backend() or "")
    chosen = networks.NETWORKS[network]
    X, y = (array[: 4 * chosen.batch_size] for array in networks.network_data(chosen))
    losses = {}
    for entrant in ("fastnn", name):
        contestant = contestants.create(entrant, 1)
        contestant.start_training(chosen, X, y, networks.network_weights(chosen))
        losses[entrant] = contestant.train(5)
    assert len(losses[name]) == 5
    assert losses[name] == pytest.approx(losses["fastnn"], rel=2e-4)
    assert losses["fastnn"][-1] < losses["fastnn"][0]


@pytest.mark.parametrize("name", ["jax", "pytorch", "numpy", "onnxruntime"])
@pytest.mark.parametrize("network", ["submarine", "binary", "digits", *GRAPHS, *WITH_TANH])
def test_contestants_predict_as_fastnn_does(name, network):
    if network in GRAPHS and not contestants.CONTESTANTS[name].graphs:
        return
    if not contestants.installed(contestants.CONTESTANTS[name]):
        pytest.skip(f"{name} is not installed")
    chosen = networks.NETWORKS[network]
    X = networks.network_data(chosen)[0][:33].copy()
    outputs = {}
    for entrant in ("fastnn", name):
        contestant = contestants.create(entrant, 1)
        contestant.start_prediction(chosen, networks.network_weights(chosen))
        outputs[entrant] = contestant.predict(X)
    assert outputs[name].shape == (33, chosen.sizes[-1])
    np.testing.assert_allclose(outputs[name], outputs["fastnn"], rtol=1e-4, atol=1e-5)


class FakeCompetitor:
    """Answers without a process: ``microseconds`` per step, and losses multiplied by ``factor``."""

    def builds(self, network):
        return True

    def __init__(self, name, n_threads=1, microseconds=1.0, factor=1.0):
        self.name, self.n_threads, self.microseconds, self.factor = name, n_threads, microseconds, factor
        self.calls = 0

        self.answers = []

    def send(self, command, **arguments):
        self.answers.append(self.ask(command, **arguments))

    def receive(self):
        return self.answers.pop(0)

    def ask(self, command, **arguments):
        if command == "train":
            self.calls += 1
            steps = 100 * arguments["epochs"]
            losses = [self.factor / (1 + epoch) for epoch in range(arguments["epochs"])]
            return {"seconds": 1e-6 * self.microseconds * steps, "steps": steps, "losses": losses}
        return {"gflops": 100.0} if command == "measure" else {}


def turn(competitor, amount):
    competitor.calls += 1
    return 1e-6 * competitor.microseconds * amount, amount


def test_turns_keep_the_better_thread_count():
    quick, slow, hopeless = (FakeCompetitor("a", n, us) for n, us in ((1, 2.0), (2, 2.5), (4, 9.0)))
    other = FakeCompetitor("b", 1, 50.0)
    timings = contest.take_turns([hopeless, slow, quick, other], turn, contest.Schedule(rounds=3, seconds=1e-3))
    assert [(timing.name, timing.n_threads) for timing in timings] == [("a", 1), ("b", 1)]
    assert timings[0].microseconds == pytest.approx([2.0] * 3)
    assert timings[1].best == pytest.approx(50.0) == timings[1].median
    # The setting far behind was paced only: it took no part in the three rounds.
    assert slow.calls - hopeless.calls >= 1


def test_a_turn_is_as_long_as_the_schedule_says():
    amounts = []

    def record(competitor, amount):
        amounts.append(amount)
        return turn(competitor, amount)

    contest.take_turns([FakeCompetitor("a", 1, 2.0)], record, contest.Schedule(rounds=4, seconds=1e-2))
    assert amounts[-4:] == [5000] * 4


def test_best_and_median():
    timing = contest.Timing("a", 1, [5.0, 3.0, 10.0])
    assert (timing.best, timing.median) == (3.0, 5.0)


def test_a_contestant_that_computes_something_else_is_not_timed():
    problems = []
    competitors = [FakeCompetitor("fastnn"), FakeCompetitor("numpy"), FakeCompetitor("jax", factor=1.001)]
    network = networks.NETWORKS["ground-motion"]
    rows = training._train_one(network, competitors, contest.Schedule(rounds=2, seconds=1e-3), problems)
    assert [row["contestant"] for row in rows] == ["fastnn", "numpy"]
    assert len(problems) == 1
    assert "jax on 1 threads disagrees with numpy" in problems[0]


def test_a_loss_that_is_not_finite_does_not_agree():
    assert training._difference([1.0, math.nan], [1.0, 1.0]) == math.inf


def test_rows_of_a_table():
    timings = [contest.Timing("fastnn", 1, [2.0, 4.0]), contest.Timing("numpy", 2, [10.0, 12.0])]
    rows = [report.timing_row("case", timing, timings, flops=100_000, peaks={1: 200.0, 2: 400.0}) for timing in timings]
    assert rows[0]["gflops"] == pytest.approx(50.0)
    assert rows[0]["percent_of_peak"] == pytest.approx(25.0)
    assert rows[1]["ratio"] == pytest.approx(5.0)
    # The peak is that of the row's threads: 100,000 FLOP in 10 us are 10 GFLOP/s, and two threads have 400.
    assert rows[1]["percent_of_peak"] == pytest.approx(2.5)
    grid = report.Grid("training", "Title", rows, problems=["one"])
    text = report.table(grid)
    assert text.startswith("Title\n") and text.endswith("PROBLEM: one\n")
    assert "against fastnn" in text and "5x slower" in text
    assert report.markdown_table(grid).splitlines()[2] == "| case | 2 (25 % of peak) | 10 (5x) |"


def grid_of(**times):
    rows = []
    for case in range(len(times["fastnn"])):
        timings = [contest.Timing(name, 1, [each[case]]) for name, each in times.items() if each[case] is not None]
        rows += [report.timing_row(f"case {case}", timing, timings, 1000, {}) for timing in timings]
    return report.Grid("training", "Title", rows)


def test_the_verdict_in_a_sentence():
    assert report.verdict(grid_of(fastnn=[2.0, 4.0], jax=[5.0, 8.0], python=[4000.0, None])) == (
        "Training: fastnn is the fastest of fastnn, jax and python in 2 of 2 cases: 2 to 2.5 times as fast as jax, "
        "2,000 times as fast as python."
    )
    slower = grid_of(fastnn=[2.0, 4.0], numpy=[1.0, 8.0])
    assert report.verdict(slower) == (
        "Training: fastnn is the fastest of fastnn and numpy in 1 of 2 cases: 0.5 to 2 times as fast as numpy."
    )
    assert "2x faster" in report.table(slower) and "2x slower" in report.table(slower)
    assert "| 1 (2x faster) |" in report.markdown_table(slower) and "| 8 (2x) |" in report.markdown_table(slower)
    assert report.verdict(grid_of(fastnn=[2.0])) is None
    assert report.verdict(report.Grid("prices", "Title", [{"width": 1}], {"width": "width"})) is None


def test_the_head_tells_the_peak_of_one_thread_and_of_all():
    machine = {"processor": "p", "cores": 2, "system": "s", "python": "3", "fma_peak_gflops": 231.0,
               "fma_peak_gflops_by_threads": {2: 231.0, 1: 128.0}}  # fmt: skip
    head = report.Report(machine, {}, ["jax", "pytorch"], []).head()
    assert "multiply-add peak in GFLOP/s: 128 with 1 thread, 231 with 2 threads" in head
    assert "not installed, optional: jax, pytorch (pip install jax torch)" in head


def test_the_peak_is_measured_for_one_thread_and_for_all():
    meter = contest.PeakMeter([FakeCompetitor("fastnn", 1), FakeCompetitor("fastnn", 4), FakeCompetitor("jax", 8)], 0.1)
    assert meter.peak is None
    meter.measure()
    assert meter.peaks == {1: 100.0, 4: 100.0} and meter.peak == 100.0


def test_keras_takes_the_backend_that_is_there(monkeypatch):
    there = {"keras", "torch", "tensorflow"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in there else None)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    keras = contestants.CONTESTANTS["keras"]
    assert contestants.keras_backend() == "torch" and contestants.installed(keras)
    assert contest._environment(1)["KERAS_BACKEND"] == "torch"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert contestants.keras_backend() == "tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert contestants.keras_backend() is None and not contestants.installed(keras)


def test_a_table_with_custom_columns():
    rows = [{"width": 32, "price": 1.25, "within": True, "grown": None}]
    columns = {"width": "width", "price": "price", "within": "within", "grown": "grown"}
    lines = report.table(report.Grid("prices", "Title", rows, columns)).splitlines()
    assert lines[2].split() == ["width", "price", "within", "grown"]
    assert lines[3].split() == ["32", "1.25", "yes", "-"]


def test_a_worker_reports_its_error_and_continues():
    with contest.open_competitors(["numpy"], thread_counts=[1]) as (competitor,):
        with pytest.raises(contest.WorkerError, match=r"numpy on 1 threads failed:[^$]*KeyError: 'no'"):
            competitor.ask("start_training", network="no")
        competitor.ask("start_training", network="ground-motion", n_batches=2)
        answer = competitor.ask("train", epochs=3)
        assert answer["steps"] == 6
        assert len(answer["losses"]) == 3


def test_a_failed_contestant_is_reported_and_ends_nothing():
    problems = []
    with contest.open_competitors(["numpy"], thread_counts=[1]) as (competitor,):
        requests = [("start_training", {"network": "no"}), ("train", {"epochs": 1})]
        assert contest.ask_all({competitor: requests}, problems) == {}
        # Both requests were answered, so the next answer belongs to the next request.
        assert competitor.ask("start_training", network="ground-motion") == {}
    assert len(problems) == 1 and "KeyError: 'no'" in problems[0]


def test_workers_do_not_inherit_tuning_of_openblas(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "1")
    environment = contest._environment(3)
    assert "OPENBLAS_CORETYPE" not in environment and "OPENBLAS_L2_SIZE" not in environment
    assert environment["OPENBLAS_NUM_THREADS"] == environment["FASTNN_NUM_THREADS"] == "3"


def test_training_grid_end_to_end(tmp_path):
    schedule = contest.Schedule(rounds=2, seconds=5e-3)
    grid = compare_training(["fastnn", "numpy", "python"], ["ground-motion"], schedule)
    assert grid.problems == []
    assert [row["contestant"] for row in grid.rows] == ["fastnn", "numpy", "python"]
    for row in grid.rows:
        assert 0 < row["best_us"] <= row["median_us"]
        assert len(row["rounds_us"]) == 2
        assert row["threads"] >= 1
        # Of a peak that was measured at another moment: on a busy machine it may be passed.
        assert row["percent_of_peak"] > 0
        assert row["percent_of_peak"] == pytest.approx(100 * row["gflops"] / row["peak_gflops"])
    # Compiled code is hundreds of times faster than lists of floats.
    assert grid.rows[2]["ratio"] > 20
    whole = report.Report(machine={"processor": "p"}, versions={}, missing=[], grids=[grid])
    whole.write_json(tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text())["grids"][0]["rows"] == grid.rows


def test_products_are_exact_before_they_are_timed():
    grid = compare_products(["fastnn", "numpy"], [(6, 40, 40)], contest.Schedule(rounds=1, seconds=1e-3))
    assert grid.problems == []
    assert [row["case"] for row in grid.rows] == ["(6, 40) @ (40, 40) float32"] * 2 + ["(6, 40) @ (40, 40) float64"] * 2


GRIDS = [
    report.Grid(
        "training",
        "Training",
        [
            {"case": "a", "contestant": "fastnn", "best_us": 1.0},
            {"case": "a", "contestant": "python", "best_us": 900.0},
        ],
    ),
    report.Grid("prices", "Prices", [{"width": 32, "variant": "tanh", "price": 1.2}]),
    report.Grid(
        "threads",
        "Threads",
        [{"width": w, "batch_size": b, "automatic": 1.0, "threads_1": 1.0} for w in (4, 8) for b in (1, 16, 64, 256)],
        {"automatic": "automatic", "threads_1": "1 thread"},
    ),
    report.Grid(
        "growth", "Growth", [{"of": of, "value": 10, "X": "float32", "seconds": 1.0} for of in ("rows", "width")]
    ),
]


@pytest.mark.parametrize("grid", GRIDS, ids=[grid.name for grid in GRIDS])
def test_pictures(grid, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from fastnn.bench.picture import draw

    draw(grid, {"processor": "p", "cores": 2}, tmp_path / "grid.png")
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_metrics_are_compared_before_they_are_timed(tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    path = tmp_path / "metrics.json"
    table = compare_metrics(n_rows=[200], rounds=1, json_path=path)
    rows = json.loads(path.read_text())["rows"]
    assert [(row["metric"], row["target"], row["rows"]) for row in rows] == [(c.metric, c.target, 200) for c in CASES]
    assert all(0 < row[who]["min_us"] <= row[who]["median_us"] for row in rows for who in ("fastnn", "scikit-learn"))
    assert len(table.splitlines()) == 2 + len(CASES)
    monkeypatch.setattr("fastnn.metrics.f1_score", lambda *_, **__: 0.5)
    with pytest.raises(RuntimeError, match=r"f1_score, 2 classes, int64, 200 rows: fastnn gives 0\.5"):
        compare_metrics(["f1_score"], [200], 1)


def test_phases_of_a_step_fill_its_time():
    answer = fits.step_phases("ground-motion", 1, seconds=0.05, window=0.002)
    assert set(answer["phases"]) == set(phases.PHASES)
    assert all(seconds >= 0 for seconds in answer["phases"].values())
    assert 0 < sum(answer["phases"].values()) < 1.1 * answer["step"]


def test_products_of_the_phases_are_those_of_the_step():
    for network in networks.NETWORKS.values():
        assert sum(phases.product_flops(network).values()) == network.flops_per_step


def test_a_row_of_phases():
    network = networks.Network("small", (2, 3, 1), 4, "mse", 1)
    seconds = dict.fromkeys(phases.PHASES, 1e-6)
    row = phases.phase_row(network, 1, 6e-6, seconds, None)
    assert [row[phase] for phase in phases.PHASES] == [pytest.approx(100 / 6)] * 6
    assert row["step_us"] == pytest.approx(6.0)
    assert row["forward_peak"] is None
    row = phases.phase_row(network, 1, 6e-6, seconds, 1.0 * phases.n_cores())
    # 2 * 4 * 9 operations in 1 us are 0.072 GFLOP/s
    assert row["forward_peak"] == pytest.approx(7.2)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--turns", "0", "must be a whole number of at least 1"),
        ("--epochs", "-1", "must be a whole number of at least 1"),
        ("--widths", "0", "must be a whole number of at least 1"),
        ("--gigabytes", "nan", "must be a finite number greater than 0, got 'nan'"),
    ],
)
def test_memory_maps_refuse_wrong_arguments(option, value, message, capsys):
    from fastnn.bench import memory_maps

    with pytest.raises(SystemExit) as stop:
        memory_maps.main([option, value])
    assert stop.value.code == 2 and f"argument {option}: {message}" in capsys.readouterr().err


def test_memory_maps_are_measured():
    from fastnn.bench.memory_maps import measure_memory_maps

    grid = measure_memory_maps(0.004, [100, 4, 1], epochs=2, turns=1)
    assert [row["way"] for row in grid.rows] == ["array", "memmap", "source", "source, cold", "read, cold"]
    speed = {row["way"]: row["million_rows"] for row in grid.rows}
    limit = min(speed["source"], speed["read, cold"])
    assert f"source / array: {speed['source'] / speed['array']:.0%}; " in grid.notes[-1]
    assert grid.notes[-1].endswith(f"slower of read and warm source: {speed['source, cold'] / limit:.0%}")
    assert all(row["million_rows"] > 0 and row["peak_mib"] > 0 for row in grid.rows)
