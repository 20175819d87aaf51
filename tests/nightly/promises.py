"""The promises of fastnn, and the tests and scripts that hold them. run.py makes docs/trust.md of them."""

from typing import NamedTuple


class Promise(NamedTuple):
    """``held``: test files (test_*), nightly scripts and checks of .ci/run; ``why``: what is missing."""

    name: str
    text: str
    held: tuple[str, ...] = ()
    why: str = ""


CHECK = "portability/check.py"
SECTIONS = {
    "Numbers": (
        Promise(
            "N1-N6",
            "Functions and their derivatives err by at most 1 to 4 units in the last place (float32)",
            ("test_accuracy", "ulp"),
            "The nightly run takes a sample; `benchmarks/ulp.py` takes all 2³² inputs",
        ),
        Promise("N7", "±0, ±∞, NaN, subnormal numbers and overflows give the right class and sign", ("test_accuracy",)),
        Promise(
            "N8, N9",
            "Softmax and losses from logits stay accurate for any finite logits",
            ("test_precision", "test_reference"),
        ),
        Promise("N10", "Products of small whole numbers are exact, for every shape in 1..24", ("test_core",)),
        Promise(
            "N11",
            "Products stay within the error bound of their chains of fused multiply-adds",
            ("test_precision", "test_core"),
        ),
        Promise(
            "N12",
            "Gradients equal differences of fourth order: relative error at most 1e-6",
            ("test_core", "test_gradients", "test_parts", "test_structural_layers", "test_graphs", "random_graphs"),
        ),
        Promise(
            "N13, N14",
            "Gradients and update rules agree with float64 references",
            ("test_reference", "test_reference_network", "test_keras_arithmetic", "test_trajectory_table"),
        ),
    ),
    "The same bits": (
        Promise(
            "R1",
            "Any number of threads gives the same weights",
            ("test_core", "test_parts", "test_structural_layers", "test_graphs", "same_results", "random_graphs"),
        ),
        Promise(
            "R2",
            "All kernels with fused multiply-adds give the bits of the scalar ones",
            ("test_core", "test_parts", "test_graphs", "same_results", "random_graphs", CHECK),
        ),
        Promise(
            "R3",
            "Memory layout, alignment and strides of the inputs change no bit",
            ("test_accepted_inputs", "test_inputs_property", "test_callers_memory"),
        ),
        Promise("R4", "A row's prediction does not depend on the other rows", ("test_core", "same_results")),
        Promise("R5", "Compilers and levels of optimization change no bit", ("compilers",)),
        Promise(
            "R6",
            "Weights of twelve recipes after 1,000 steps, and all results of `portability/steps.c`, are pinned",
            ("test_golden_hashes", CHECK),
        ),
        Promise("R7", "A resumed fit equals the uninterrupted one", ("test_checkpoints", "same_results")),
        Promise(
            "R8",
            "The caller's rounding mode and flushing of subnormal numbers change no bit and stay as they were",
            ("test_ambient_arithmetic", "test_callers_memory"),
        ),
        Promise(
            "R9",
            "Exported C has the bits of predictions, from every compiler; Fortran differs by 2 ULP at most",
            ("exported_sources", "test_export_c"),
        ),
    ),
    "Faults": (
        Promise(
            "F1",
            "A failing allocation or start of a thread gives MemoryError or fewer threads; objects stay usable",
            ("test_fault_injection", "test_allocation_failures", "fault_injection"),
        ),
        Promise("F2", "No report of the address and undefined-behaviour sanitizers", (".ci/run",)),
        Promise("F3", "No report of the thread sanitizer, without suppressions", ("thread_sanitizer",)),
        Promise(
            "F4", "No error under valgrind, no finding of the static analyser, no warning", ("memory_checks", ".ci/run")
        ),
        Promise("F5", "Tests reach at least 98 % of the branches of the C core", ("core_coverage",)),
        Promise("F5", "Tests notice at least 90 % of the mutations of the kernels", ("mutation",)),
        Promise(
            "F6",
            "A mutated model file gives ModelFormatError, in bounded time and memory",
            ("test_model_files", "test_model_file_sizes", "fuzz_model_files"),
        ),
        Promise(
            "F7",
            "Hostile and foreign files are refused",
            ("test_model_files", "test_foreign_files", "test_foreign_mutations", "fuzz_foreign_models"),
        ),
        Promise(
            "F8",
            "A process killed while it saves leaves the old file or the new one",
            ("test_saving", "kill_while_saving"),
        ),
        Promise(
            "F9, F10",
            "A failing system call leaves the old file; data reaches the disk before its name does",
            ("test_atomic_writes",),
        ),
        Promise(
            "F11",
            "Arrays of any type and layout give the same results or a typed error, and are never changed",
            ("test_inputs_property", "test_inputs", "test_accepted_inputs"),
        ),
        Promise(
            "F12",
            "Sizes beyond memory are refused before anything is allocated",
            ("test_inputs", "test_model_file_sizes"),
        ),
        Promise("F13", "No rows, no features and short batches have defined results", ("test_inputs",)),
        Promise(
            "F14",
            "NaN and infinity are refused or missing values; a divergence keeps the last finite weights",
            ("test_inputs", "test_divergence"),
        ),
        Promise("F15", "Subnormal moments do not slow steps down", ("subnormals",)),
        Promise("F16", "Libraries are hardened; two wheels of one commit are the same", ("wheels",)),
    ),
    "Processes and threads": (
        Promise(
            "P1", "A forked child works, on one thread and with the same bits", ("test_system_threads", "test_core")
        ),
        Promise("P2", "Threads may share models: the same bits, or a clear RuntimeError", ("test_two_threads",)),
        Promise(
            "P3",
            "Free-threaded Python imports fastnn and turns the GIL on",
            ("free_threaded",),
            "Python turns it on for compiled modules that do not declare themselves safe without it, as these do not. "
            "With an interpreter built from CPython's source: neither Debian 12 nor PyPI has one",
        ),
        Promise(
            "P4",
            "Any order of imports with NumPy, scikit-learn and PyTorch",
            ("test_processes",),
            "With PyTorch where it is installed",
        ),
        Promise(
            "P5",
            "The default number of threads is that of the processors, the quota and the environment",
            ("test_threads",),
        ),
        Promise(
            "P6",
            "Crowded processors do not stall a fit",
            ("test_thread_trials", "test_system_threads"),
            "The time itself is measured by `benchmarks/threads.py`",
        ),
        Promise(
            "P7",
            "Ctrl-C ends a native call within 100 ms, and the model stays usable",
            ("test_interruption", "test_interrupted_calls"),
        ),
        Promise("P8", "A process may end while it trains", ("test_processes", "process_ends")),
        Promise("P9", "Nothing leaks: memory, files and threads stay as many", ("test_lifetime", "soak")),
        Promise("P10", "scikit-learn's `check_estimator` passes", ("test_estimators_checks",)),
        Promise("P11", "The suite passes in any order and with a decimal comma", ("any_order",)),
        Promise("P12", "Each set of kernels can be forced; the baseline runs on a Nehalem", ("test_core", CHECK)),
        Promise("P13", "Any number of MPI ranks gives the bits of one process", ("test_distributed", "lost_ranks")),
    ),
}
