"""Record 50 steps of pytabkit's RealMLP-TD and of tabm's TabM-mini in float64, for test_tabular_recordings.py.

Needs ``pip install pytabkit tabm rtdl_num_embeddings torch``. Dropout is off, batches are the rows in order. Starting
weights come from these packages, and so do the layers, the optimizer and the schedules.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

DATA = Path(__file__).parent / "data"
N, FEATURES, BATCH, STEPS, EPOCHS = 160, 5, 32, 50, 12
WIDTH = 24


def rows(n_classes):
    """Inputs within the bounds of robust scaling, and targets."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(N, FEATURES))
    signal = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=N)
    if not n_classes:
        return X, (signal - signal.mean()) / signal.std()
    return X, np.digitize(signal, np.quantile(signal, np.arange(1, n_classes) / n_classes))


def record_realmlp(n_classes):
    """Train pytabkit's network with its optimizer; return the first and the last weights."""
    from pytabkit.models.alg_interfaces.base import InterfaceResources, SplitIdxs
    from pytabkit.models.data.data import DictDataset, TensorInfo
    from pytabkit.models.optim.optimizers import get_opt_class
    from pytabkit.models.sklearn.default_params import DefaultParams
    from pytabkit.models.training.nn_creator import NNCreator

    torch.set_default_dtype(torch.float64)
    defaults = DefaultParams.RealMLP_TD_CLASS if n_classes else DefaultParams.RealMLP_TD_REG
    config = {
        **defaults,
        "hidden_sizes": [WIDTH] * 3,
        "p_drop": 0.0,
        "clamp_output": False,
        "normalize_output": False,
        "n_epochs": EPOCHS,
    }
    X, y = rows(n_classes)
    targets = torch.tensor(y)[:, None] if n_classes else torch.tensor(y, dtype=torch.float64)[:, None]
    infos = {
        "x_cont": TensorInfo(feat_shape=[FEATURES]),
        "x_cat": TensorInfo(cat_sizes=[]),
        "y": TensorInfo(cat_sizes=[n_classes]) if n_classes else TensorInfo(feat_shape=[1]),
    }
    tensors = {"x_cont": torch.tensor(X), "x_cat": torch.zeros((N, 0), dtype=torch.long), "y": targets}
    dataset = DictDataset(tensors, infos)
    split = SplitIdxs(torch.arange(N)[None], None, None, 0, [0], 0)
    creator = NNCreator(**config)
    creator.setup_from_dataset(dataset, [split], InterfaceResources(n_threads=1, gpu_devices=[]))
    model = creator.create_model(dataset, [split]).double()
    manager = creator.hp_manager
    optimizer = get_opt_class("adam")([{"params": [p], "lr": 0.01} for p in model.parameters()], manager)
    criterion, _ = creator.get_criterions()
    prepared = creator.static_model.forward_ds(dataset)
    names = [str(p.context.scope) for p in model.parameters()]
    first = [p.detach().numpy()[0].copy() for p in model.parameters()]
    model.train()
    per_epoch = N // BATCH
    for step in range(STEPS):
        progress = SimpleNamespace(get_fit_progress=lambda step=step: step / (per_epoch * EPOCHS))
        manager.update_hypers(SimpleNamespace(progress=progress))
        take = slice(step % per_epoch * BATCH, (step % per_epoch + 1) * BATCH)
        batch = {key: tensor[take][None] for key, tensor in prepared.tensors.items()}
        out = model(batch)
        loss = criterion(out["x_cont"], out["y"]).sum()
        loss.backward()
        optimizer.step(loss=loss)
        optimizer.zero_grad()
    last = [p.detach().numpy()[0].copy() for p in model.parameters()]
    inputs = prepared.tensors["x_cont"].numpy()
    print(names, [a.shape for a in first], float(loss))
    return {
        "X": inputs,
        "y": y,
        **{f"first_{i}": a for i, a in enumerate(first)},
        **{f"last_{i}": a for i, a in enumerate(last)},
    }


def record_tabm(members=4):
    """Train TabM-mini with piecewise-linear embeddings; return the first and the last weights."""
    import rtdl_num_embeddings
    import tabm

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    X, y = rows(0)
    bins = rtdl_num_embeddings.compute_bins(torch.tensor(X), n_bins=8)
    embeddings = rtdl_num_embeddings.PiecewiseLinearEmbeddings(bins, 6, activation=False, version="B")
    model = tabm.TabM(
        n_num_features=FEATURES, cat_cardinalities=[], d_out=1, num_embeddings=embeddings, n_blocks=2, d_block=WIDTH,
        dropout=0.0, k=members, arch_type="tabm-mini", start_scaling_init="normal",
    ).double()  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=3e-4)
    first = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    for step in range(STEPS):
        take = slice(step % (N // BATCH) * BATCH, (step % (N // BATCH) + 1) * BATCH)
        out = model(torch.tensor(X[take]), None)
        loss = ((out[..., 0] - torch.tensor(y[take])[:, None]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    last = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    print({name: a.shape for name, a in first.items()}, float(loss))
    edges = {f"edges_{i}": each.numpy() for i, each in enumerate(bins)}
    return {
        "X": X,
        "y": y,
        **edges,
        **{f"first {k}": v for k, v in first.items()},
        **{f"last {k}": v for k, v in last.items()},
    }


if __name__ == "__main__":
    for name, n_classes in (("regression", 0), ("classification", 3)):
        np.savez_compressed(DATA / f"realmlp_{name}.npz", **record_realmlp(n_classes))
    np.savez_compressed(DATA / "tabm_mini.npz", **record_tabm())
