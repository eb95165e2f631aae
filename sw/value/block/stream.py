# SPDX-License-Identifier: Apache-2.0
"""Memory streams of the block codec: slices to header, bus words and CRC-32, and back.

A stream is what a decoder reads from memory, one linear run of bus words. ``FORMAT.md`` is
normative; positions come from ``layout``.
"""

from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.bits.framing import StreamBits, frame_payload, unframe_payload
from xorloom.sw.bits.gf2 import pack_fields
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.spec.layout import (
    CONTROL_AHEAD,
    WIDTH_FIELD_BITS,
    Header,
    control_threshold_bits,
    frame_bytes,
    network_id,
    seed_bits_per_group,
)

from . import stream_kernels as kernels
from .codec import BlockSlices

__all__ = ["block_bits", "pack_block", "unpack_block"]


@dataclass(frozen=True)
class _Plan:
    """Plan of a stream: what stands where, before the bytes are written."""

    n_patch: np.ndarray
    widths: np.ndarray
    kinds: np.ndarray
    bits: StreamBits


def _plan(slices: BlockSlices, config: BlockConfig) -> _Plan:
    lanes, span = config.lanes, config.block_groups
    groups = -(-slices.seeds.size // lanes)
    n_patch = np.zeros((groups, lanes), np.uint16)
    n_patch.reshape(-1)[: slices.n_patch.size] = slices.n_patch
    most = np.zeros(0, np.uint16)
    if groups:
        most = np.maximum.reduceat(n_patch.max(axis=1), np.arange(0, groups, span))
    widths = np.ceil(np.log2(most + 1.0)).astype(np.uint8)  # bit lengths
    groups_a_block = np.minimum(span, groups - np.arange(len(widths)) * span)
    control = int(np.dot(widths.astype(np.int64), groups_a_block)) * lanes
    control += WIDTH_FIELD_BITS * (widths.size + 1 if widths.size else 0)
    seeds = slices.seeds.size * config.n_in
    patches = slices.patches.size * config.position_bits
    bound = 8 + (control + groups * lanes * config.n_in + patches) // config.bus_bits
    kinds = np.empty(bound + control_threshold_bits(config) // config.bus_bits, np.uint8)
    words, steps = kernels.schedule(
        n_patch,
        widths,
        span,
        CONTROL_AHEAD,
        config.patches_per_cycle,
        config.bus_bits,
        WIDTH_FIELD_BITS,
        control_threshold_bits(config),
        seed_bits_per_group(config),
        config.position_bits,
        kinds,
    )
    total = words * config.bus_bits + 8 * frame_bytes(config.bus_bytes)
    overhead = total - seeds - control - patches
    bits = StreamBits(seeds, control, patches, overhead, words, steps)
    return _Plan(n_patch, widths, kinds[:words], bits)


def block_bits(slices: BlockSlices, config: BlockConfig) -> StreamBits:
    """Count a stream's bits and cycles without writing it."""
    return _plan(slices, config).bits


def pack_block(slices: BlockSlices, config: BlockConfig) -> tuple[bytes, StreamBits]:
    """Write slices as a memory stream.

    Returns
    -------
    (stream, bits) : bytes and StreamBits

    Raises
    ------
    CapacityError
        If there are 2**32 slices or more.
    """
    plan = _plan(slices, config)
    lanes, span = config.lanes, config.block_groups
    counts = np.zeros((len(plan.widths), 1 + span * lanes), np.uint64)
    sizes = np.zeros(counts.shape, np.uint8)
    counts[:-1, 0], sizes[:, 0] = plan.widths[1:], WIDTH_FIELD_BITS
    groups = plan.n_patch.shape[0]
    body = np.zeros((counts.shape[0] * span, lanes), np.uint64)
    body[:groups] = plan.n_patch
    counts[:, 1:] = body.reshape(len(plan.widths), span * lanes)
    live = np.repeat(np.arange(counts.shape[0] * span) < groups, lanes)
    sizes[:, 1:] = plan.widths[:, None] * live.reshape(len(plan.widths), span * lanes)
    positions = kernels.order_patches(plan.n_patch, slices.patches, True)
    fields = (
        (
            np.concatenate([plan.widths[:1].astype(np.uint64), counts.reshape(-1)]),
            np.concatenate(
                [np.full(plan.widths[:1].size, WIDTH_FIELD_BITS, np.uint8), sizes.reshape(-1)]
            ),
        ),
        (slices.seeds, np.array([config.n_in], np.uint8)),
        (positions.astype(np.uint64), np.array([config.position_bits], np.uint8)),
    )
    payload = np.empty((plan.bits.words, config.bus_bytes), np.uint8)
    for kind, (values, widths) in enumerate(fields):
        chosen = plan.kinds == kind
        n_bytes = int(np.count_nonzero(chosen)) * config.bus_bytes
        words = np.zeros(n_bytes // 8 + 2, np.uint64)
        pack_fields(values, widths, words)
        payload[chosen] = words.view(np.uint8)[:n_bytes].reshape(-1, config.bus_bytes)
    header = Header(config.kind, slices.seeds.size, network_id(config), plan.bits.words)
    return frame_payload(header, payload.tobytes(), config.bus_bytes), plan.bits


def _fields(units: np.ndarray, count: int, width: int) -> np.ndarray:
    """Read ``count`` fields of ``width`` (1 to 64) bits from packed uint32 units, as uint64."""
    words = np.concatenate([units, np.zeros(4 + units.size % 2, np.uint32)]).view("<u8")
    start = np.arange(count, dtype=np.uint64) * np.uint64(width)
    index, shift = (start >> np.uint64(6)).astype(np.int64), start & np.uint64(63)
    value = words[index] >> shift
    high = words[index + 1] << (np.uint64(63) - shift) << np.uint64(1)
    return (value | high) & np.uint64((1 << width) - 1)


def unpack_block(data: bytes, config: BlockConfig, where: str = "stream") -> BlockSlices:
    """Read a memory stream of the block codec; ``where`` names it in messages.

    Raises
    ------
    FormatError
        If the stream is truncated, damaged, or made for another network or layout.
    """
    header, payload = unframe_payload(data, config.bus_bytes, config.kind, where)
    if header.network != network_id(config):
        raise FormatError(
            f"{where}: network id must be {network_id(config):08x} for n_in {config.n_in}, "
            f"n_out {config.n_out}, seed {config.network_seed}, found {header.network:08x}"
        )
    count = header.count
    if count * config.n_in > header.words * config.bus_bits:
        raise FormatError(f"{where}: {header.words} bus words cannot hold {count} slices")
    units = np.frombuffer(payload, "<u4")
    groups = -(-count // config.lanes)
    n_patch = np.zeros((groups, config.lanes), np.uint16)
    control, seeds, patch = (np.zeros(units.size + 2, np.uint32) for _ in range(3))
    status, place = kernels.parse(
        units,
        n_patch,
        count,
        config.block_groups,
        CONTROL_AHEAD,
        config.bus_bits // 32,
        WIDTH_FIELD_BITS,
        config.position_bits,
        config.n_out - 1,
        control_threshold_bits(config),
        seed_bits_per_group(config),
        config.n_in,
        config.position_bits,
        control,
        seeds,
        patch,
    )
    if status != kernels.OK:
        reason = {
            kernels.TOO_SHORT: f"ends after bus word {place}, before its last slice",
            kernels.BAD_WIDTH: f"n_patch width at group {place} exceeds {config.position_bits}",
            kernels.BAD_COUNT: f"n_patch at group {place} exceeds what n_out or count allow",
            kernels.BAD_PADDING: f"has data after its last slice (bus word {place})",
        }[status]
        raise FormatError(f"{where}: stream {reason} (is it made for these lanes and this bus?)")
    positions = _fields(patch, place, config.position_bits).astype(np.uint16)
    patches = kernels.order_patches(n_patch, positions, False)
    flat = n_patch.reshape(-1)[:count].copy()
    _check_positions(flat, patches, config, where)
    return BlockSlices(_fields(seeds, count, config.n_in), flat, patches)


def _check_positions(
    n_patch: np.ndarray, patches: np.ndarray, config: BlockConfig, where: str
) -> None:
    """Positions must be inside the slice and strictly ascending."""
    if patches.size == 0:
        return
    if int(patches.max()) >= config.n_out:
        raise FormatError(f"{where}: patch position {patches.max()} must be below {config.n_out}")
    starts = np.zeros(patches.size, np.bool_)
    starts[(np.cumsum(n_patch, dtype=np.int64) - n_patch)[n_patch > 0]] = True
    if not (starts[1:] | (patches[1:] > patches[:-1])).all():
        raise FormatError(f"{where}: patch positions of a slice must ascend")
