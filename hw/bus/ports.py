# SPDX-License-Identifier: Apache-2.0
"""What the AXI4-Stream shells share: clock and reset, ports, connections."""

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["axi_members", "axi_module"]


def axi_members(
    inputs: dict[str, int], data_bits: int, sideband: dict[str, int]
) -> dict[str, wiring.Member]:
    """Return the ports of a shell with one clock and active-low synchronous reset.

    Parameters
    ----------
    inputs : dict
        Prefix of every input stream and its width.
    data_bits : int
        Width of ``m_axis_tdata``.
    sideband : dict
        Further signals of ``m_axis``, such as ``tuser``, and their widths.
    """
    members = {"aclk": In(1), "aresetn": In(1)}
    for prefix, bits in inputs.items():
        members |= {
            f"{prefix}_tdata": In(bits),
            f"{prefix}_tvalid": In(1),
            f"{prefix}_tready": Out(1),
            f"{prefix}_tlast": In(1),
        }
    return (
        members
        | {"m_axis_tdata": Out(data_bits)}
        | {f"m_axis_{name}": Out(bits) for name, bits in sideband.items()}
        | {"m_axis_tvalid": Out(1), "m_axis_tready": In(1), "m_axis_tlast": Out(1)}
    )


def axi_module(shell: Any, decoder: Any, inputs: dict[str, Any]) -> Module:
    """Put a decoder behind the ports; what ``m_axis`` carries is left to the caller.

    Parameters
    ----------
    shell : wiring.Component
        Has the ports of :func:`axi_members`.
    decoder : wiring.Component
        Its output stream is ``o``.
    inputs : dict
        Prefix of every input stream, and the decoder's stream behind it.
    """
    m = Module()
    m.domains.sync = ClockDomain(local=True)
    m.submodules.decoder = decoder
    m.d.comb += [ClockSignal().eq(shell.aclk), ResetSignal().eq(~shell.aresetn)]
    for prefix, port in inputs.items():
        m.d.comb += [
            port.valid.eq(getattr(shell, f"{prefix}_tvalid")),
            port.payload.eq(getattr(shell, f"{prefix}_tdata")),
            getattr(shell, f"{prefix}_tready").eq(port.ready),
        ]
    m.d.comb += [
        shell.m_axis_tvalid.eq(decoder.o.valid),
        decoder.o.ready.eq(shell.m_axis_tready),
    ]
    return m
