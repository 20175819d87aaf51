"""What the members of TabM-mini cost: processor time of one pass through 1,024 rows, on one thread.

Contestants are one network, 32 members that all train on each row, as published, and 32 of which two train on each row,
as the recipe "tabm" does. All have 16 numbers in piecewise-linear embeddings, two hidden layers with dropout, AdamW
and batches of 128. PyTorch's are those of the package ``tabm`` (``pip install tabm rtdl_num_embeddings torch``), if
it is installed. They take turns; ratios are those of a turn: median (least to greatest).
"""

import argparse
import importlib.util
import time
from collections.abc import Callable

import numpy as np

import fastnn
from fastnn._command_line import positive_count
from fastnn.bench.machine import describe_machine
from fastnn.tabular import recipes, tabm
from fastnn.tabular.columns import TableEncoder

N, FEATURES, BATCH, MEMBERS = 1024, 16, 128, 32
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, FEATURES)).astype(np.float32)
Y = (X[:, :1] * X[:, 1:2] + np.abs(X[:, 2:3])).astype(np.float32)


def of_fastnn(width: int, members: int, some: bool = False) -> Callable[[], None]:
    """Return what trains fastnn's network on all rows once."""
    task = recipes.Task("tabm", 1, False, 0.0, width, n_members=members)
    encoder = TableEncoder(recipes.SCALINGS["tabm"], 0)
    rows = encoder.learn(X, None)
    model = recipes.build(task, encoder, rows, 0, some)
    if some:
        numbers = np.empty((N, tabm.MEMBERS_OF_ROW), np.float32)
        tabm.choose_members(numbers, members, RANDOM)
        rows, task = np.column_stack([rows, numbers]), task.of_row()
    recipes.compile_model(model, task, recipes.plan_of(task, N, 1))
    targets = recipes.targets_of(task, Y)
    return lambda: model.fit(rows, targets, batch_size=BATCH, epochs=1, verbose=0)


def of_torch(width: int, members: int) -> Callable[[], None]:
    """Return what trains the network of the package tabm on all rows once."""
    import rtdl_num_embeddings
    import tabm as published
    import torch

    torch.set_num_threads(1)
    inputs, targets = torch.tensor(X), torch.tensor(Y)
    bins = rtdl_num_embeddings.compute_bins(inputs, n_bins=48)
    embeddings = rtdl_num_embeddings.PiecewiseLinearEmbeddings(bins, 16, activation=False, version="B")
    model = published.TabM(
        n_num_features=FEATURES, cat_cardinalities=[], d_out=1, num_embeddings=embeddings, n_blocks=2, d_block=width,
        dropout=0.1, k=members, arch_type="tabm-mini", start_scaling_init="normal",
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=3e-4)

    def train() -> None:
        for rows in torch.randperm(N).split(BATCH):
            loss = ((model(inputs[rows], None)[..., 0] - targets[rows]) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return train


def milliseconds(work: Callable[[], None]) -> float:
    begin = time.process_time()
    work()
    return 1e3 * (time.process_time() - begin)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive_count, default=9)
    parser.add_argument("--widths", type=positive_count, nargs="+", default=[256, 512])
    options = parser.parse_args()
    print(describe_machine())
    fastnn.set_num_threads(1)
    has_torch = importlib.util.find_spec("tabm") is not None and importlib.util.find_spec("torch") is not None
    print("\n| units | contestant | ms | times one network |\n| ---: | --- | ---: | ---: |")
    for width in options.widths:
        contestants = {
            "one network": of_fastnn(width, 1),
            f"{tabm.MEMBERS_OF_ROW} of {MEMBERS} members on each row": of_fastnn(width, MEMBERS, some=True),
            f"{MEMBERS} members": of_fastnn(width, MEMBERS),
        }
        if has_torch:
            contestants["PyTorch, one network"] = of_torch(width, 1)
            contestants[f"PyTorch, {MEMBERS} members"] = of_torch(width, MEMBERS)
        for train in contestants.values():
            train()
        taken = np.array([[milliseconds(train) for train in contestants.values()] for _ in range(options.rounds)])
        times = dict(zip(contestants, taken.T, strict=True))
        for name, each in times.items():
            ratios = each / times["PyTorch, one network" if name.startswith("PyTorch") else "one network"]
            spread = f"{np.median(ratios):.1f} ({ratios.min():.1f} to {ratios.max():.1f})"
            print(f"| {width} | {name} | {np.median(each):.1f} | {spread} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
