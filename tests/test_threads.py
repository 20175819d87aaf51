"""Threads: their number, where it comes from, and what show_config says."""

import ast
import os

import numpy as np
import pytest

import fastnn
from fastnn._processors import default_num_threads


def write(root, path, text):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_set_and_restore():
    before = fastnn.get_num_threads()
    with fastnn.threads(3):
        assert fastnn.get_num_threads() == 3
        with fastnn.threads(1):
            assert fastnn.get_num_threads() == 1
        assert fastnn.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError), fastnn.threads(5):
        raise ZeroDivisionError
    assert fastnn.get_num_threads() == before
    for wrong in (0, -1, 1.5, "2", True, None, 1025):
        with pytest.raises(ValueError, match="n must be a whole number from 1 to 1024"):
            fastnn.set_num_threads(wrong)
    assert fastnn.get_num_threads() == before


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="reads Linux's list of threads")
def test_more_threads_than_processors_are_not_started():
    class Count(fastnn.callbacks.Callback):
        most = 0

        def on_train_batch_end(self, batch, logs=None):
            self.most = max(self.most, len(os.listdir("/proc/self/task")))

    model = fastnn.Sequential([fastnn.Input((200,)), fastnn.layers.Dense(200), fastnn.layers.Dense(200)])
    model.compile(optimizer="sgd", loss="mse")
    X = np.ones((2048, 200), np.float32)
    count, before = Count(), len(os.listdir("/proc/self/task"))  # some of these may be ending
    with fastnn.threads(64):
        model.fit(X, X, batch_size=1024, epochs=2, verbose=0, callbacks=[count])
        assert fastnn.get_num_threads() == 64
    assert 0 < count.most <= before + len(os.sched_getaffinity(0)) - 1


@pytest.fixture
def many_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)


def test_environment(many_cores, tmp_path):
    def default(**environment):
        return default_num_threads(environment, str(tmp_path))

    assert default() == 64
    assert default(FASTNN_NUM_THREADS="5") == 5
    assert default(OMP_NUM_THREADS="6") == 6
    assert default(OMP_NUM_THREADS="7,2") == 7
    assert default(OMP_NUM_THREADS="4", FASTNN_NUM_THREADS="9") == 4
    assert default(FASTNN_NUM_THREADS="100") == 64
    assert default(OMP_NUM_THREADS="many") == 64
    assert default(SLURM_CPUS_PER_TASK="8") == 8
    assert default(SLURM_CPUS_PER_TASK="8", OMP_NUM_THREADS="3") == 3
    assert default(SLURM_CPUS_PER_TASK="2", FASTNN_NUM_THREADS="5") == 2
    assert default(SLURM_CPUS_PER_TASK="") == default(SLURM_CPUS_PER_TASK="0") == 64
    for wrong in ("0", "-2", "two", "1.5"):
        with pytest.raises(ValueError, match="FASTNN_NUM_THREADS must be a whole number from 1 to 1024"):
            default(FASTNN_NUM_THREADS=wrong)


def test_quota_of_control_groups_version_2(many_cores, tmp_path):
    write(tmp_path, "proc/self/cgroup", "0::/a/b\n")
    for path, text, expected in (
        ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n", 64),
        ("sys/fs/cgroup/a/cpu.max", "350000 100000\n", 4),
        ("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n", 2),
        ("sys/fs/cgroup/cpu.max", "50000 100000\n", 1),
    ):
        write(tmp_path, path, text)
        assert default_num_threads({}, str(tmp_path)) == expected


def test_quota_of_control_groups_version_1(many_cores, tmp_path):
    write(tmp_path, "proc/self/cgroup", "5:memory:/m\n4:cpu,cpuacct:/job\n0::/\n")
    group = "sys/fs/cgroup/cpu,cpuacct/job/cpu."
    write(tmp_path, group + "cfs_quota_us", "-1\n")
    write(tmp_path, group + "cfs_period_us", "100000\n")
    assert default_num_threads({}, str(tmp_path)) == 64
    write(tmp_path, group + "cfs_quota_us", "250000\n")
    assert default_num_threads({}, str(tmp_path)) == 3
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    assert default_num_threads({}, str(tmp_path)) == 2


def test_environment_is_read_at_import(run_python):
    code = "import fastnn; print(fastnn.get_num_threads())"
    assert run_python(code, FASTNN_NUM_THREADS="1").stdout == "1\n"
    wrong = run_python(code, FASTNN_NUM_THREADS="none")
    assert "FASTNN_NUM_THREADS must be a whole number" in wrong.stderr.splitlines()[-1]
    wrong = run_python(code, FASTNN_ISA="sse9")
    assert "FASTNN_ISA" in wrong.stderr.splitlines()[-1] and "known: " in wrong.stderr.splitlines()[-1]


def test_show_config_says_why_these_kernels():
    from fastnn._processors import _kernels

    old, new = ("scalar", "baseline", "avx2"), ("scalar", "baseline", "avx2", "avx512")
    assert _kernels("avx2", old, "", 0.0) == {
        "instruction set": "avx2, by default (available: scalar, baseline, avx2)",
    }
    assert "1.0 times as many multiply-adds" in _kernels("avx2", new, "", 1.01)["AVX-512"]
    taken = _kernels("avx512", new, "avx512", 1.98)
    assert taken["instruction set"].startswith("avx512, by FASTNN_ISA=avx512 (")
    assert "2.0 times" in taken["AVX-512"] and "untried" not in taken
    assert "emulator" in _kernels("neon", ("scalar", "neon"), "", 0.0)["untried"]
    assert "bits" in _kernels("baseline", ("scalar", "baseline"), "", 0.0)


def test_wide_kernels_are_the_default_where_they_are_faster(run_python):
    code = "import fastnn._core as c; print(c.config())"
    config = ast.literal_eval(run_python(code, FASTNN_ISA="").stdout)
    wanted = "avx512" if config["wide_rate"] >= 1.5 else "avx2" if "avx2" in config["isas"] else None
    if wanted is None:
        assert config["wide_rate"] == 0 and config["isa"] in ("baseline", "neon", "scalar")
    else:
        assert config["isa"] == wanted


def test_show_config(capsys):
    fastnn.show_config()
    text = capsys.readouterr().out
    entries = dict(line.split("  ", 1) for line in text.splitlines())
    assert entries["fastnn"].strip() == fastnn.__version__
    assert entries["threads"].strip() == str(fastnn.get_num_threads())
    assert {"instruction set", "compiler", "OpenMP", "Python", "NumPy", "platform"} <= entries.keys()
