# SPDX-License-Identifier: Apache-2.0
"""Schedules: how long a network is trained, and how long that takes."""

from dataclasses import dataclass, replace

__all__ = ["QUICK_STEPS", "Schedule"]

QUICK_STEPS = 8
"""Steps of an epoch where things are tried out."""


@dataclass(frozen=True)
class Schedule:
    """How a task is trained.

    Parameters
    ----------
    batch, steps : int
        Size of a batch, and batches of an epoch.
    dense_epochs, candidate_epochs, final_epochs : int
        Of the dense network, of candidates in the selection, of final runs.
    rates : tuple of float
        Learning rates of candidates.
    shares : int
        Splits of a budget that are tried, with every learning rate.
    dense_rate : float
        Learning rate of the dense network.
    step_s : float
        Time of a step under a code on one core, in seconds; estimates build on it.
    dense_step_s : float
        Time of a step of the whole dense network, in seconds.
    """

    batch: int
    steps: int
    dense_epochs: int
    candidate_epochs: int
    final_epochs: int
    rates: tuple[float, ...]
    shares: int
    dense_rate: float
    step_s: float
    dense_step_s: float

    @property
    def quick(self) -> "Schedule":
        """An epoch of a few steps each, to try things out."""
        return replace(
            self,
            steps=QUICK_STEPS,
            dense_epochs=1,
            candidate_epochs=1,
            final_epochs=1,
            rates=self.rates[:1],
            shares=1,
        )

    @property
    def dense_meaning(self) -> str:
        """What of it the dense network depends on."""
        return repr((self.batch, self.steps, self.dense_epochs, self.dense_rate))

    @property
    def meaning(self) -> str:
        """What of it rows depend on; times do not count."""
        return repr((self.dense_meaning, self.candidate_epochs, self.rates, self.shares))

    @property
    def dense_s(self) -> float:
        """How long the dense network takes, in seconds."""
        return self.dense_epochs * self.steps * self.dense_step_s
