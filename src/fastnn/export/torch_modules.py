"""Modules for what ``torch.nn`` does not have; imported by ``to_torch`` alone, because they need PyTorch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

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


class FeatureScale(nn.Module):
    """``x * weight + bias`` of each feature; the features come ``members`` times."""

    def __init__(self, n_features: int, members: int, bias: bool) -> None:
        super().__init__()
        self.members = members
        self.weight = nn.Parameter(torch.ones(members * n_features))
        self.bias = nn.Parameter(torch.zeros(members * n_features)) if bias else None

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        scaled = x.repeat(1, self.members) * self.weight
        return scaled if self.bias is None else scaled + self.bias


class ParametricActivation(nn.Module):
    """``x + (f(x) - x) * weight``, where f is the module ``function`` with ``options``."""

    def __init__(self, n_features: int, function: str, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.function = (globals().get(function) or getattr(nn, function))(**options)
        self.weight = nn.Parameter(torch.ones(n_features))

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        return x + (self.function(x) - x) * self.weight


class CosineFeatures(nn.Module):
    """``cos(2 pi weight x + bias)``, ``count`` of each feature; in float64."""

    def __init__(self, n_features: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.weight = nn.Parameter(torch.zeros(count * n_features))
        self.bias = nn.Parameter(torch.zeros(count * n_features))

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        turns = x.double().repeat_interleave(self.count, dim=1) * self.weight
        return torch.cos(2.0 * torch.pi * turns + self.bias).to(x.dtype)


class BoundedLines(nn.Module):
    """``min(high, max(low, slope x + offset))``, ``n_lines`` of each feature; in float64: lines may be steep."""

    slope: Any
    offset: Any
    low: Any
    high: Any

    def __init__(self, n_features: int, n_lines: int) -> None:
        super().__init__()
        self.n_lines = n_lines
        for name in ("slope", "offset", "low", "high"):
            self.register_buffer(name, torch.zeros(n_features * n_lines))

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        lines = x.double().repeat_interleave(self.n_lines, dim=1) * self.slope + self.offset
        return torch.minimum(torch.maximum(lines, self.low.double()), self.high.double()).to(x.dtype)


class MemberDense(nn.Module):
    """The same linear layer for each group of features."""

    def __init__(self, groups: int, in_features: int, out_features: int, bias: bool) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        return nn.functional.linear(x.unflatten(1, (self.groups, -1)), self.weight, self.bias).flatten(1)


class GroupedDense(nn.Module):
    """A linear layer for each group of features: weight (groups, in_features, out_features)."""

    def __init__(self, groups: int, in_features: int, out_features: int, bias: bool) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(groups, in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(groups * out_features)) if bias else None

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        products = torch.einsum("ngi,gio->ngo", x.unflatten(1, (self.groups, -1)), self.weight).flatten(1)
        return products if self.bias is None else products + self.bias


class Residual(nn.Module):
    """``x + block(x)``."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        return x + self.block(x)


class Combine(nn.Module):
    """Tensors combined element by element, in order; or one tensor and a number."""

    _functions: ClassVar[dict[str, Callable[..., Any]]] = {
        "add": torch.add,
        "average": torch.add,
        "subtract": torch.sub,
        "multiply": torch.mul,
        "divide": torch.div,
        "maximum": torch.maximum,
        "minimum": torch.minimum,
    }

    def __init__(self, kind: str, number: float | None = None, first: bool = False) -> None:
        super().__init__()
        self.kind, self.number, self.first = kind, number, first

    def forward(self, *tensors: Any) -> Any:
        """Return the outputs."""
        function, (result, *others) = self._functions[self.kind], tensors
        if self.number is not None:
            number = torch.full_like(result, self.number)
            return function(number, result) if self.first else function(result, number)
        for each in others:
            result = function(result, each)
        return result / len(tensors) if self.kind == "average" else result


class Concatenate(nn.Module):
    """Tensors side by side."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *tensors: Any) -> Any:
        """Return the outputs."""
        return torch.cat(tensors, dim=self.axis)


class Dot(nn.Module):
    """The scalar product of the rows of two tensors (n, k), as (n, 1); ``normalize``: of the rows over their norms."""

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, first: Any, second: Any) -> Any:
        """Return the outputs."""
        if self.normalize:
            first, second = (x * torch.rsqrt((x * x).sum(-1, keepdim=True).clamp(min=1e-14)) for x in (first, second))
        return (first * second).sum(-1, keepdim=True)


class Columns(nn.Module):
    """Chosen elements of each row, counted as in a vector, as rows of a shape."""

    def __init__(self, columns: Sequence[int], row: Sequence[int]) -> None:
        super().__init__()
        self.columns, self.row = list(columns), tuple(row)

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        return x.reshape(len(x), -1)[:, self.columns].reshape(len(x), *self.row)


class Reshape(nn.Module):
    """Rows of another shape."""

    def __init__(self, row: Sequence[int]) -> None:
        super().__init__()
        self.row = tuple(row)

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        return x.reshape(len(x), *self.row)


class Embedding(nn.Embedding):
    """A vector for each whole number, of any type."""

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        return super().forward(x.long())


class Graph(nn.Module):
    """Modules that are called on the results of others: ``net(x1, x2, ...)`` returns a tensor or a tuple of them.

    Parameters
    ----------
    parts : modules by name.
    calls : (name, numbers of the values that the module takes, number of the one that it gives) in order; the inputs
        are the values 0, 1, ...
    n_inputs : number of inputs.
    results : numbers of the values that are returned.
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        calls: Sequence[tuple[str, Sequence[int], int]],
        n_inputs: int,
        results: Sequence[int],
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.calls, self.n_inputs, self.results = list(calls), n_inputs, list(results)

    def forward(self, *inputs: Any) -> Any:
        """Return the outputs."""
        if len(inputs) != self.n_inputs:
            raise TypeError(f"the network takes {self.n_inputs} inputs, got {len(inputs)}")
        values = dict(enumerate(inputs))
        for name, sources, target in self.calls:
            values[target] = self.parts[name](*(values[source] for source in sources))
        found = tuple(values[result] for result in self.results)
        return found if len(found) > 1 else found[0]
