# SPDX-License-Identifier: Apache-2.0
"""Streams of the baselines in software: round trips, literal bytes, sizes, errors."""

import numpy as np
import pytest
from xorloom.hw.baselines.rice import BaselineRice
from xorloom.sim.bench.baselines.config import BaselineConfig
from xorloom.sim.bench.baselines.streams import BASELINES, decode_baseline, encode_baseline
from xorloom.sim.datasets import iid
from xorloom.sw.base.errors import ConfigError, FormatError

from tests.helpers.weights import clustered_weights

CONFIGS = [
    BaselineConfig(),
    BaselineConfig(bus_bits=32, n_out=64, planes=3, lanes=4),
    BaselineConfig(bus_bits=128, n_out=128, planes=4, lanes=8),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.bus_bits}-{c.planes}")
@pytest.mark.parametrize("name", BASELINES)
def test_baseline_round_trip(name: str, config: BaselineConfig) -> None:
    for sparsity in (0.0, 0.3, 0.9, 0.99, 1.0):
        for size in (0, 1, 300, 5000):
            mask, codes = iid(size, sparsity, config.planes, 3)
            stream = encode_baseline(name, mask, codes, config)
            got = decode_baseline(name, stream, config)
            np.testing.assert_array_equal(got[0], mask)
            np.testing.assert_array_equal(got[1], np.where(mask, codes, 0))


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_round_trip_of_clustered_mask_beyond_a_row(name: str) -> None:
    weights = np.abs(clustered_weights(300, 250, 1)).reshape(-1)
    mask = weights > np.quantile(weights, 0.9)
    codes = np.ones(mask.size, np.uint8)
    got = decode_baseline(name, encode_baseline(name, mask, codes, CONFIGS[0]), CONFIGS[0])
    np.testing.assert_array_equal(got[0], mask)
    np.testing.assert_array_equal(got[1], mask)


def test_baseline_bitmask_bytes() -> None:
    mask = np.zeros(64, bool)
    mask[[1, 8]] = True
    config = BaselineConfig(bus_bits=64, n_out=64)
    stream = encode_baseline("bitmask", mask, np.ones(64, np.uint8), config)
    assert stream.hex() == "4000000002000000" + "00" * 8 + "0201" + "00" * 6 + "03" + "00" * 7


@pytest.mark.parametrize(
    ("name", "bound"), [("dense", 2.01), ("bitmask", 1.11), ("csr", 1.74), ("rice", 0.60)]
)
def test_baseline_stores_what_its_code_promises(name: str, bound: float) -> None:
    mask, codes = iid(1 << 17, 0.9, 1, 3)
    assert len(encode_baseline(name, mask, codes, BaselineConfig())) * 8 / mask.size < bound


def test_baseline_errors_name_the_fix() -> None:
    with pytest.raises(ConfigError, match="a baseline is one of dense"):
        encode_baseline("zip", np.zeros(1, bool), np.zeros(1, np.uint8), CONFIGS[0])
    with pytest.raises(FormatError, match=r"must have\s+16 bytes, found 17"):
        decode_baseline("dense", bytes(17), CONFIGS[0])
    with pytest.raises(ConfigError, match="power of two from bus_bits = 64"):
        BaselineConfig(n_out=32)
    with pytest.raises(ConfigError, match="bus_bits must be 32"):
        BaselineConfig(bus_bits=48)
    with pytest.raises(ConfigError, match="between 1 and 7"):
        BaselineConfig(planes=8)
    with pytest.raises(ConfigError, match="lanes must be a power of two"):
        BaselineRice(bus_bits=64, n_out=256, planes=1, lanes=3)
    header = np.array([1, 1, 9, 0], "<u4").tobytes()
    with pytest.raises(FormatError, match="at most 5 bits, found 9"):
        decode_baseline("rice", header + bytes(8), CONFIGS[0])
