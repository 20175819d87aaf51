"""PyTorch: eager modules and fused optimizers."""

from typing import Any

import torch
from torch import nn

from fastnn.bench.contestants.contestant import EPSILON, LEARNING_RATE, MOMENTUM, Array
from fastnn.bench.networks import Network


class _WideAndDeep(nn.Module):
    def __init__(self, weights: list[Array]) -> None:
        super().__init__()
        self.deep, self.wide = _chain(weights[:-2]), _chain(weights[-2:])

    def forward(self, x: Any) -> Any:
        return self.deep(x) + self.wide(x)


class _TwoTowers(nn.Module):
    def __init__(self, weights: list[Array]) -> None:
        super().__init__()
        self.towers = nn.ModuleList(_chain(weights[i : i + 2]) for i in (0, 2))
        self.joined = _chain(weights[4:])

    def forward(self, *inputs: Any) -> Any:
        pairs = zip(self.towers, inputs, strict=True)
        return self.joined(torch.cat([torch.relu(tower(x)) for tower, x in pairs], dim=1))


def _module(network: Network, weights: list[Array]) -> Any:
    if network.shape == "chain":
        return _chain(weights, {"relu": nn.ReLU, "tanh": nn.Tanh}[network.activation])
    return {"wide and deep": _WideAndDeep, "two towers": _TwoTowers}[network.shape](weights)


def _chain(weights: list[Array], activation: Any = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        linear = nn.Linear(*kernel.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(kernel.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


class _PyTorch:
    """Batches are cut before the timing starts; losses are read once per epoch."""

    def __init__(self, n_threads: int) -> None:
        torch.set_num_threads(n_threads)

    def start_training(self, network: Network, X: Array, y: Array, weights: list[Array]) -> None:
        cut: Any = torch.split
        size = network.batch_size
        inputs = zip(*(cut(torch.from_numpy(x), size) for x in network.inputs(X)), strict=True)
        self.batches = list(zip(inputs, cut(torch.from_numpy(y), size), strict=True))
        self.module = _module(network, weights)
        self.loss: Any = {
            "mse": nn.functional.mse_loss,
            "binary_crossentropy": nn.functional.binary_cross_entropy_with_logits,
            "sparse_categorical_crossentropy": nn.functional.cross_entropy,
        }[network.loss]
        weights_now, rules = self.module.parameters(), torch.optim
        self.optimizer: Any = (
            rules.SGD(weights_now, lr=LEARNING_RATE, momentum=MOMENTUM, fused=True)
            if network.optimizer == "momentum"
            else rules.Adam(weights_now, lr=LEARNING_RATE, eps=EPSILON, fused=True)
        )

    def train(self, epochs: int) -> list[float]:
        module, loss_function, optimizer = self.module, self.loss, self.optimizer
        history = []
        for _ in range(epochs):
            losses = []
            for x, y in self.batches:
                optimizer.zero_grad(set_to_none=True)
                loss = loss_function(module(*x), y)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            history.append(torch.stack(losses).mean().item())
        return history

    def start_prediction(self, network: Network, weights: list[Array]) -> None:
        self.network, self.module = network, _module(network, weights)
        if network.loss == "binary_crossentropy":
            self.module.append(nn.Sigmoid())
        elif network.loss == "sparse_categorical_crossentropy":
            self.module.append(nn.Softmax(dim=1))
        self.module.eval()

    def predict(self, x: Array) -> Array:
        with torch.inference_mode():
            outputs: Array = self.module(*map(torch.from_numpy, self.network.inputs(x))).numpy()
        return outputs


CONTESTANT = _PyTorch
