"""Modules for what ``torch.nn`` does not have; imported by ``to_torch`` alone, because they need PyTorch."""

from typing import Any

import torch
from torch import nn


class Exponential(nn.Module):
    """``exp(x)``."""

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        return torch.exp(x)


class ExactSoftplus(nn.Module):
    """``log(1 + exp(x))`` for every x; ``torch.nn.Softplus`` is x above 20."""

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        return torch.clamp(x, min=0) + torch.log1p(torch.exp(-torch.abs(x)))


class GeneralReLU(nn.Module):
    """``x`` between 0 and ``max_value`` above ``threshold``, else ``negative_slope * (x - threshold)``."""

    def __init__(self, negative_slope: float, max_value: float, threshold: float) -> None:
        super().__init__()
        self.negative_slope, self.max_value, self.threshold = negative_slope, max_value, threshold

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        below = self.negative_slope * (x - self.threshold)
        return torch.where(x > self.threshold, torch.clamp(x, 0.0, self.max_value), below)


class GaussianNoise(nn.Module):
    """Normal noise in training."""

    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = stddev

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        return x + self.stddev * torch.randn_like(x) if self.training else x


class Normalize(nn.Module):
    """``(x - mean) / deviation`` or its inverse, with fixed statistics; NaN may stand for a missing value."""

    mean: Any
    deviation: Any

    def __init__(self, n_features: int, invert: bool, missing: str | None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("deviation", torch.ones(n_features))
        self.invert, self.missing = invert, missing

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        y = self.mean + x * self.deviation if self.invert else (x - self.mean) / self.deviation
        if self.missing is None:
            return y
        gaps = torch.isnan(x)
        y = torch.where(gaps, self.mean if self.invert else torch.zeros_like(self.mean), y)
        return torch.cat([y, gaps.to(y.dtype)], dim=-1) if self.missing == "indicator" else y


class ScaledByDeviation(nn.Module):
    """``x / sqrt(variance + epsilon) * weight`` with the variance of each row."""

    def __init__(self, n_features: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_features))
        self.epsilon = epsilon

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        variance = torch.var(x, dim=-1, keepdim=True, unbiased=False)
        return x * torch.rsqrt(variance + self.epsilon) * self.weight


class Residual(nn.Module):
    """``x + block(x)``."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        return x + self.block(x)
