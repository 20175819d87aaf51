"""PyTorch: eager modules and the fused Adam."""

from typing import Any

import torch
from torch import nn

from fastnn.bench.contestants.contestant import EPSILON, LEARNING_RATE, Array
from fastnn.bench.networks import Network


def _module(weights: list[Array]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        linear = nn.Linear(*kernel.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(kernel.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class _PyTorch:
    """Batches are cut before the timing starts; losses are read once per epoch."""

    def __init__(self, n_threads: int) -> None:
        torch.set_num_threads(n_threads)

    def start_training(self, network: Network, X: Array, y: Array, weights: list[Array]) -> None:
        cut: Any = torch.split
        size = network.batch_size
        self.batches = list(zip(cut(torch.from_numpy(X), size), cut(torch.from_numpy(y), size), strict=True))
        self.module = _module(weights)
        self.loss: Any = {
            "mse": nn.functional.mse_loss,
            "binary_crossentropy": nn.functional.binary_cross_entropy_with_logits,
            "sparse_categorical_crossentropy": nn.functional.cross_entropy,
        }[network.loss]
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=LEARNING_RATE, eps=EPSILON, fused=True)

    def train(self, epochs: int) -> list[float]:
        module, loss_function, optimizer = self.module, self.loss, self.optimizer
        history = []
        for _ in range(epochs):
            losses = []
            for x, y in self.batches:
                optimizer.zero_grad(set_to_none=True)
                loss = loss_function(module(x), y)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            history.append(torch.stack(losses).mean().item())
        return history

    def start_prediction(self, network: Network, weights: list[Array]) -> None:
        self.module = _module(weights)
        if network.loss == "binary_crossentropy":
            self.module.append(nn.Sigmoid())
        elif network.loss == "sparse_categorical_crossentropy":
            self.module.append(nn.Softmax(dim=1))
        self.module.eval()

    def predict(self, x: Array) -> Array:
        with torch.inference_mode():
            outputs: Array = self.module(torch.from_numpy(x)).numpy()
        return outputs


CONTESTANT = _PyTorch
