# SPDX-License-Identifier: Apache-2.0
"""Area of the rate benchmark: LUTs per weight of the decoders on ECP5."""

from collections.abc import Sequence
from dataclasses import dataclass

from xorloom.hw.flow.synth import synthesize_all
from xorloom.hw.units import generate_unit
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.weight_format import Decoder, mask_lanes

__all__ = ["Area", "areas"]

_TARGET = "ecp5"


@dataclass(frozen=True)
class Area:
    """Area of a decoder: LUT4s over the weights of a slice, and the slower part's clock."""

    lut4_per_weight: float
    fmax_mhz: float | None


def _parts(decoder: Decoder) -> list[ValueConfig | IndexConfig]:
    """Return what a decoder has to be made of; a bitmap is the mask, and no index is nothing."""
    plain = decoder.index.codec == "bitmap" or decoder.index.keeps_all
    return [decoder.value] if plain else [decoder.value, decoder.index]


def areas(
    decoders: Sequence[tuple[Decoder, int]], seeds: int, progress: Progress = no_progress
) -> dict[tuple[Decoder, int], Area]:
    """Synthesize decoders without framing, as in the IP block; results are cached.

    Parameters
    ----------
    decoders : sequence of (decoder, planes)
    seeds : int
        Placement seeds; 0: no clock.

    Raises
    ------
    ToolError
        If a tool fails; names the log.
    """
    parts = list(dict.fromkeys(part for decoder, _ in decoders for part in _parts(decoder)))
    designs = []
    for part in parts:
        verilog = generate_unit("value" if isinstance(part, ValueConfig) else "core", part)
        designs.append((verilog.text, verilog.name, _TARGET))
    reports = synthesize_all(designs, seeds=seeds, progress=progress, must_fit=False)
    made = dict(zip(parts, reports, strict=True))
    found = {}
    for decoder, planes in decoders:
        mine = [made[part] for part in _parts(decoder)]
        clocks = [report.fmax_mhz for report in mine]
        slowest = None if None in clocks else min(clock for clock in clocks if clock is not None)
        luts = sum(report.lut or 0 for report in mine)
        lanes = mask_lanes(decoder.value, planes)
        found[decoder, planes] = Area(luts / lanes, slowest)
    return found
