# SPDX-License-Identifier: Apache-2.0
"""Ports of top levels: AXI4-Stream members, clock and reset, ports passed to submodules."""

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["axi_members", "clocked_module", "decoder_module", "pass_ports", "ports_of"]


def axi_members(
    *, in_bits: int | None, out_bits: int, sideband: Mapping[str, int] | None = None
) -> dict[str, wiring.Member]:
    """Return the ports of a top level with AXI4-Stream ports.

    They are ``aclk`` and ``aresetn`` (synchronous reset, active low), the input stream
    ``s_axis_*``, if there is one, and the output stream ``m_axis_*``.

    Parameters
    ----------
    in_bits : int, optional
        Width of ``s_axis_tdata``; None if there is no input stream.
    out_bits : int
        Width of ``m_axis_tdata``.
    sideband : mapping of str to int, optional
        Further signals of ``m_axis``, such as ``tuser``, and their widths.
    """
    members = {"aclk": In(1), "aresetn": In(1)}
    if in_bits is not None:
        members |= {
            "s_axis_tdata": In(in_bits),
            "s_axis_tvalid": In(1),
            "s_axis_tready": Out(1),
            "s_axis_tlast": In(1),
        }
    return (
        members
        | {"m_axis_tdata": Out(out_bits)}
        | {f"m_axis_{name}": Out(bits) for name, bits in (sideband or {}).items()}
        | {"m_axis_tvalid": Out(1), "m_axis_tready": In(1), "m_axis_tlast": Out(1)}
    )


def clocked_module(top: Any) -> Module:
    """Return a module whose domain ``sync`` runs on ``aclk`` and ``aresetn`` of a top level."""
    m = Module()
    m.domains.sync = ClockDomain(local=True)
    m.d.comb += [ClockSignal().eq(top.aclk), ResetSignal().eq(~top.aresetn)]
    return m


def decoder_module(shell: Any, decoder: Any) -> Module:
    """Return a module with a decoder between ``s_axis`` and ``m_axis`` of its shell.

    ``tdata``, ``tlast`` and the sideband of ``m_axis`` are left to the caller. ``s_axis_tlast`` is
    not connected: a memory stream tells its own length.

    Parameters
    ----------
    shell : wiring.Component
        Has the ports of :func:`axi_members`.
    decoder : wiring.Component
        Its streams are ``i``, of bus words, and ``o``.
    """
    m = clocked_module(shell)
    m.submodules.decoder = decoder
    m.d.comb += [
        decoder.i.valid.eq(shell.s_axis_tvalid),
        decoder.i.payload.eq(shell.s_axis_tdata),
        shell.s_axis_tready.eq(decoder.i.ready),
        shell.m_axis_tvalid.eq(decoder.o.valid),
        decoder.o.ready.eq(shell.m_axis_tready),
    ]
    return m


def ports_of(unit: wiring.Component, prefix: str) -> dict[str, wiring.Member]:
    """Return the ports of a unit whose names begin with a prefix, such as ``m_axi_``."""
    members = unit.signature.members
    return {name: port for name, port in members.items() if name.startswith(prefix)}


def pass_ports(
    m: Module, outer: wiring.Component, inner: wiring.Component, names: Mapping[str, str]
) -> None:
    """Connect ports of a submodule to ports of the component around it.

    Parameters
    ----------
    m : Module
        Of ``outer``.
    outer, inner : wiring.Component
        The component and its submodule.
    names : mapping of str to str
        Name of the outer port for each inner one; they have the same direction.
    """
    for name, outer_name in names.items():
        port, inner_port = getattr(outer, outer_name), getattr(inner, name)
        is_input = inner.signature.members[name].flow is In
        m.d.comb += inner_port.eq(port) if is_input else port.eq(inner_port)
