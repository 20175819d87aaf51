"""What the doctor reports: findings, and their order."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Diagnosis", "Finding"]

_SEVERITIES = ("serious", "warning", "note")
_SYMPTOMS = {
    "large steps": 1,
    "small steps": 1,
    "dead units": 2,
    "saturated units": 2,
    "vanishing gradients": 2,
    "exploding gradients": 2,
    "loss rises": 3,
    "loss stands still": 3,
    "overfitting": 3,
    "no better than a simple model": 3,
}
"""Findings that others can cause, and how far they are from the cause; those of the data and the last layer are 0."""


@dataclass(frozen=True)
class Finding:
    """One finding.

    Parameters
    ----------
    what : name of the problem, such as "dead units".
    where : the input, layer or data that has it.
    severity : "serious", "warning" or "note".
    measure : description with figures.
    advice : recommended action.
    """

    what: str
    where: str
    severity: str
    measure: str
    advice: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.what} in {self.where}: {self.measure}. {self.advice}"


class Diagnosis(list[Finding]):
    """Findings: causes before their symptoms, of these the most serious first, notes last; its repr is a report."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(sorted(findings, key=_rank))

    def __repr__(self) -> str:
        if not self:
            return "The doctor found nothing."
        return "\n".join(f"{number}. {finding}" for number, finding in enumerate(self, 1))


def _rank(finding: Finding) -> tuple[bool, int, int]:
    return finding.severity == "note", _SYMPTOMS.get(finding.what, 0), _SEVERITIES.index(finding.severity)
