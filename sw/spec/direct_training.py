# SPDX-License-Identifier: Apache-2.0
"""Choice of a network for seeds that are trained: others than those that quantize well."""

from fractions import Fraction

from .direct import DirectConfig
from .direct_preset import direct_config

__all__ = ["training_config"]

TAPS = 2
WINDOW = 16


def training_config(
    rate: Fraction,
    *,
    planes: int = 1,
    window: int | None = None,
    taps: int | None = None,
    seed: int = 0,
    bus_bits: int = DirectConfig.bus_bits,
) -> DirectConfig:
    """Return the direct decoder of seeds that are trained.

    Parameters
    ----------
    rate : Fraction
        Seed bits per weight.
    planes : int
    window, taps : int, optional
        16 and 2 by default: what trains best.
    seed : int
        Of the network.
    bus_bits : int

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """
    return direct_config(
        rate=rate,
        planes=planes,
        window=window or WINDOW,
        taps=taps or TAPS,
        bus_bits=bus_bits,
        network_seed=seed,
    )
