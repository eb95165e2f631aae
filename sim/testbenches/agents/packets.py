# SPDX-License-Identifier: Apache-2.0
"""Judge of received AXI4-Stream packets: which bytes are kept, and what is in them."""

from typing import Any

__all__ = ["keep_fault", "packet_fault"]


def keep_fault(frame: Any, lanes: int) -> str | None:
    """Say where a packet breaks the rule of ``tkeep``; without ``tkeep`` all bytes are kept.

    Kept bytes are contiguous from byte 0 on, at least one; all beats but the last are full. See
    :func:`xorloom.sw.spec.layout.byte_units`.

    Parameters
    ----------
    frame : AxiStreamFrame
        Received with ``compact=False``.
    lanes : int
        Bytes of a beat.
    """
    keep = frame.tkeep or []
    for at in range(0, len(keep), lanes):
        beat = keep[at : at + lanes]
        text = "".join("-k"[bit] for bit in beat)
        if "-k" in text or not beat[0]:
            return f"beat {at // lanes}: kept bytes {text} are not contiguous from byte 0"
        if at + lanes < len(keep) and not all(beat):
            return f"beat {at // lanes}: kept bytes {text}, but it is not the last beat"
    return None


def packet_fault(got: bytes, expected: bytes, care: int, beat_bytes: int) -> str | None:
    """Say where two packets differ; in the last beat, only bits of ``care`` count."""
    if len(got) != len(expected):
        return f"packet of {len(got)} bytes, expected {len(expected)}"
    a, b = (int.from_bytes(data, "little") for data in (got, expected))
    last = 8 * (-(-len(got) // beat_bytes) - 1) * beat_bytes
    wrong = (a ^ b) & ((1 << last) - 1 | care << last)
    if not wrong:
        return None
    place = (wrong & -wrong).bit_length() - 1
    want = b >> place & 1
    return (
        f"beat {place // (8 * beat_bytes)} bit {place % (8 * beat_bytes)}: expected {want}, "
        f"got {1 - want} ({wrong.bit_count()} bits differ)"
    )
