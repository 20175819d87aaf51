"""Ranks of the contestants of ``tables.py``: Elo, mean ranks, critical difference, tests of pairs, and a picture."""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, studentized_range, wilcoxon

Results = list[dict[str, Any]]
"""For each data set, split and contestant: error, seconds of fit, microseconds of a prediction per row."""


def mean_errors(results: Results) -> pd.DataFrame:
    """Return mean errors over the splits that all contestants of a data set have: data sets by contestants."""
    frame = pd.DataFrame(results)
    means = {}
    for name, part in frame.groupby("data", sort=False):
        splits = part.pivot_table(index="split", columns="contestant", values="error")
        complete = splits.dropna()
        means[name] = (complete if len(complete) else splits).mean()
    return pd.DataFrame(means).T


def elo(results: Results, anchor: str = "random forest") -> pd.Series:
    """Return Elo ratings from all pairs on the same split, by the Bradley-Terry model; the anchor has 1000.

    Every pair is given a tenth of a win each, so that the rating of one that always wins is finite.
    """
    frame = pd.DataFrame(results)
    names = list(frame["contestant"].unique())
    if len(names) < 2:
        return pd.Series(1000.0, names)
    wins = np.full((len(names), len(names)), 0.1)
    for _, found in frame.groupby(["data", "split"]):
        errors = dict(zip(found["contestant"], found["error"], strict=True))
        weight = 1.0 / frame.loc[frame["data"] == found["data"].iloc[0], "split"].nunique()
        for a, b in combinations(errors, 2):
            won = 0.5 if errors[a] == errors[b] else float(errors[a] < errors[b])
            wins[names.index(a), names.index(b)] += weight * won
            wins[names.index(b), names.index(a)] += weight * (1.0 - won)
    np.fill_diagonal(wins, 0.0)
    strength = np.ones(len(names))
    for _ in range(2000):
        strength = wins.sum(axis=1) / ((wins + wins.T) / (strength[:, None] + strength)).sum(axis=1)
        strength /= strength.sum()
    ratings = pd.Series(400.0 * np.log10(strength), names)
    return ratings + 1000.0 - (ratings[anchor] if anchor in names else ratings.mean())


def complete_errors(results: Results) -> pd.DataFrame:
    """Return the mean errors of contestants that have half of the data sets or more, on those that all of them have."""
    errors = mean_errors(results)
    return errors.loc[:, errors.notna().sum() >= 0.5 * len(errors)].dropna()


def critical_difference(contestants: int, data_sets: int) -> float:
    """Return the difference of mean ranks that is significant at 5 % in Nemenyi's test (Demšar, 2006)."""
    quantile = float(studentized_range.ppf(0.95, contestants, np.inf)) / np.sqrt(2.0)
    return float(quantile * np.sqrt(contestants * (contestants + 1) / (6.0 * data_sets)))


def holm(probabilities: dict[str, float]) -> dict[str, float]:
    """Return probabilities of several tests after Holm's correction (1979)."""
    corrected, largest = {}, 0.0
    for i, name in enumerate(sorted(probabilities, key=lambda key: probabilities[key])):
        largest = max(largest, min(1.0, (len(probabilities) - i) * probabilities[name]))
        corrected[name] = largest
    return corrected


def against(errors: pd.DataFrame, name: str) -> dict[str, float]:
    """Return the probability, by Wilcoxon's test with Holm's correction, that a contestant equals each other one."""
    ranks = errors.rank(axis=1)
    others = [other for other in errors if other != name and (ranks[name] != ranks[other]).any()]
    relative = {other: np.log(errors[other] / errors[name]) for other in others}
    return holm({other: float(wilcoxon(found).pvalue) for other, found in relative.items()})


def share_of_score(metric: str, error: float, best: float) -> float:
    """Return a score relative to the best: of areas under the curve their ratio, else the inverse ratio of errors."""
    return (1.0 - error) / (1.0 - best) if metric == "auc" else best / error


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    listed = [list(header)]
    lines = [listed[0], ["---"] * len(listed[0]), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float, digits: int = 3) -> str:
    """Return a number with so many digits; nothing for NaN."""
    return "" if np.isnan(value) else f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:.0f}"


def contestants_table(results: Results, megabytes: dict[str, float]) -> str:
    """Return Elo, mean rank, wins against LightGBM, seconds and sizes of the contestants."""
    frame, errors, ratings = pd.DataFrame(results), mean_errors(results), elo(results)
    complete = complete_errors(results)
    ranks = complete.rank(axis=1).mean()
    costs = frame.groupby(["contestant", "data"])[["fit_seconds", "fit_cpu_seconds", "predict_us"]].mean()
    rows = []
    for name in ratings.sort_values(ascending=False).index:
        own = costs.loc[name]
        both = errors[[name, "LightGBM"]].dropna() if "LightGBM" in errors and name != "LightGBM" else errors[:0]
        wins = f"{(both[name] < both['LightGBM']).sum()} of {len(both)}" if len(both) else ""
        rank = number(ranks[name]) if name in ranks else ""
        medians = [number(float(own[column].median())) for column in own]
        size = number(megabytes[name]) if name in megabytes else ""
        rows.append([name, f"{ratings[name]:.0f}", rank, str(errors[name].notna().sum()), wins, *medians, size])
    header = ["contestant", "Elo", f"mean rank ({len(complete)} sets)", "sets", "better than LightGBM", "fit s"]
    return table([*header, "fit CPU s", "predict us/row", "install MB"], rows)


def errors_table(results: Results) -> str:
    """Return the mean error of each contestant on each data set, the least in bold, with the number of splits."""
    frame, errors = pd.DataFrame(results), mean_errors(results)
    rows = []
    for name, found in errors.iterrows():
        part = frame[frame["data"] == name]
        splits = part.groupby("contestant")["split"].nunique().min()
        cells = [f"**{number(value)}**" if value == found.min() else number(value) for value in found]
        rows.append([str(name), part["metric"].iloc[0], str(splits), *cells])
    return table(["data", "error", "splits", *errors.columns], rows)


def bags_table(results: Results, own: str, others: list[str]) -> str:
    """Return what a contestant reaches of the best score of others, and what part of the processor seconds it takes."""
    frame, errors = pd.DataFrame(results), mean_errors(results)
    others = [name for name in others if name in errors]
    seconds = frame.pivot_table(index="data", columns="contestant", values="fit_cpu_seconds")
    rows = []
    for name, found in errors.iterrows():
        known = found.reindex([own, *others]).dropna()
        if own not in known or len(known) < 2:
            continue
        rivals = known.drop(own)
        metric = frame.loc[frame["data"] == name, "metric"].iloc[0]
        share = share_of_score(metric, known[own], rivals.min())
        time = seconds.loc[name, own] / seconds.loc[name, rivals.idxmin()]
        cells = [number(found.get(each, np.nan)) for each in (own, *others)]
        rows.append([str(name), metric, *cells, f"{100 * share:.1f} %", f"{100 * time:.0f} %"])
    return table(["data", "error", own, *others, "of the better score", "of its CPU seconds"], rows) if rows else ""


def summary(results: Results) -> str:
    """Return Friedman's test, the critical difference, and Wilcoxon's tests of the best against all others."""
    errors = complete_errors(results)
    n, k = errors.shape
    if n < 3 or k < 3:
        return f"{n} complete data sets and {k} contestants: too few for tests"
    ranks = errors.rank(axis=1).mean().sort_values()
    friedman = friedmanchisquare(*[errors[name] for name in errors]).pvalue
    tests = ", ".join(f"{name} {p:.3f}" for name, p in against(errors, ranks.index[0]).items())
    return (
        f"Friedman p = {friedman:.2g}; critical difference {critical_difference(k, n):.2f} "
        f"({k} contestants, {n} data sets); Wilcoxon-Holm p of {ranks.index[0]} against: {tests}"
    )


def draw(results: Results, path: str) -> None:
    """Draw mean ranks; bars join contestants that the critical difference does not separate (Demšar, 2006)."""
    import matplotlib.pyplot as plt

    errors = complete_errors(results)
    n, k = errors.shape
    ranks = errors.rank(axis=1).mean().sort_values()
    difference = critical_difference(k, n)
    left = -(-k // 2)
    groups: list[tuple[float, float]] = []
    for first in ranks:
        last = ranks[ranks <= first + difference].iloc[-1]
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    top = 0.6 + 0.25 * len(groups)
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.22 * (left + 2 * len(groups) + 2)))
    axes.axis("off")
    axes.plot([1, k], [0, 0], color="black", lw=1)
    for rank in range(1, k + 1):
        axes.plot([rank, rank], [0, -0.15], color="black", lw=1)
        axes.text(rank, -0.3, str(rank), ha="center", va="bottom")
    axes.plot([1, 1 + difference], [-1.4, -1.4], color="black", lw=2)
    axes.text(
        1 + difference / 2, -1.5, f"critical difference {difference:.2f}, {n} data sets", ha="center", va="bottom"
    )
    for i, (name, rank) in enumerate(ranks.items()):
        on_left = i < left
        height = top + 0.55 * (i if on_left else k - 1 - i)
        end = 0.6 if on_left else k + 0.4
        color = "tab:blue" if str(name).startswith("fastnn") else "black"
        axes.plot([rank, rank, end], [0, height, height], color=color, lw=1)
        axes.text(end, height, f" {name} {rank:.1f} ", ha="right" if on_left else "left", va="center", color=color)
    for i, (first, last) in enumerate(groups):
        axes.plot([first - 0.06, last + 0.06], [0.25 + 0.25 * i] * 2, color="black", lw=4, solid_capstyle="butt")
    axes.invert_yaxis()
    figure.savefig(path, bbox_inches="tight", dpi=120)
    plt.close(figure)
