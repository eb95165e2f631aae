# SPDX-License-Identifier: Apache-2.0
"""Bus interfaces that the ports of a top level are, told by their names; attributes for Vivado."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .axi_burst import PAGE_BYTES

__all__ = ["BusKind", "Interface", "interfaces", "vivado_attributes"]


@dataclass(frozen=True)
class BusKind:
    """Kind of a bus, as tools that connect buses know it.

    Parameters
    ----------
    vivado : str
        Vendor, library, name and version of the bus in Vivado, joined by colons.
    ip_xact : str
        The same in IP-XACT. Of AMBA buses it is Arm's, whose library most tools have.
    """

    vivado: str
    ip_xact: str


_SIGNAL = "xilinx.com:signal:{}:1.0"
_AXIMM = "xilinx.com:interface:aximm:1.0"
_BUSES = {
    "axi": BusKind(_AXIMM, "amba.com:AMBA4:AXI4:r0p0_0"),
    "axil": BusKind(_AXIMM, "amba.com:AMBA4:AXI4-Lite:r0p0_0"),
    "axis": BusKind("xilinx.com:interface:axis:1.0", "amba.com:AMBA4:AXI4Stream:r0p0_1"),
}
"""Kinds of AXI buses by what stands after ``s_`` or ``m_`` in the names of their ports."""
_SIGNALS = {
    "aclk": ("clock", "CLK"),
    "aresetn": ("reset", "RST"),
    "irq": ("interrupt", "INTERRUPT"),
}
"""Ports that are an interface of their own: name of the kind, and of its only signal."""


@dataclass(frozen=True)
class Interface:
    """Interface of a top level: ports that are connected together.

    Parameters
    ----------
    name : str
        Of a bus, what the names of its ports begin with.
    kind : BusKind
    manager : bool
        Whether it drives the bus, stream or signal.
    ports : mapping of str to str
        Names of the ports, and of the signals of the bus that they are.
    """

    name: str
    kind: BusKind
    manager: bool
    ports: Mapping[str, str]

    @property
    def is_bus(self) -> bool:
        """Whether it is clocked, not a single signal."""
        return self.kind in _BUSES.values()


def interfaces(ports: Iterable[str]) -> tuple[Interface, ...]:
    """Return the interfaces of a top level with AXI ports, in the order of their first ports.

    Ports of other top levels, such as ``i__payload``, are not of any.
    """
    found: dict[str, Interface] = {}
    for port in ports:
        bus, _, signal = port.rpartition("_")
        side, _, kind = bus.partition("_")
        if port in _SIGNALS:
            own, signal = _SIGNALS[port]
            known = BusKind(_SIGNAL.format(own), _SIGNAL.format(own))
            found[port] = Interface(port, known, own == "interrupt", {port: signal})
        elif side in ("s", "m") and (form := kind.partition("_")[0]) in _BUSES:
            before = found[bus].ports if bus in found else {}
            ports_now = {**before, port: signal.upper()}
            found[bus] = Interface(bus, _BUSES[form], side == "m", ports_now)
    return tuple(found.values())


def _parameters(
    own: Interface, every: Iterable[Interface], bits: Mapping[str, int], burst: Mapping[str, int]
) -> dict[str, object]:
    """Return the parameters of an interface that Vivado cannot tell from its ports, and sizes."""
    width = {signal: bits[port] for port, signal in own.ports.items()}
    if own.name == "aclk":
        return {
            "ASSOCIATED_BUSIF": ":".join(each.name for each in every if each.is_bus),
            "ASSOCIATED_RESET": "aresetn",
        }
    if not own.is_bus:
        return (
            {"POLARITY": "ACTIVE_LOW"} if own.name == "aresetn" else {"SENSITIVITY": "LEVEL_HIGH"}
        )
    if "TDATA" in width:
        flags = {f"HAS_{name}": int(name in width) for name in ("TKEEP", "TLAST")}
        sizes = {"TDATA_NUM_BYTES": -(-width["TDATA"] // 8), "TUSER_WIDTH": width.get("TUSER", 0)}
        return {**sizes, **flags}
    if "ARLEN" in width:
        return {"PROTOCOL": "AXI4", **burst}
    return {"PROTOCOL": "AXI4LITE", "DATA_WIDTH": width["RDATA"], "ADDR_WIDTH": width["ARADDR"]}


def vivado_attributes(
    bits: Mapping[str, int], *, max_burst: int = 1, outstanding: int = 1
) -> dict[str, dict[str, str]]:
    """Return attributes of ports by which Vivado's block designs know their interfaces.

    They are ``X_INTERFACE_INFO`` of every port of an interface, and ``X_INTERFACE_PARAMETER`` of
    its first. Ref: AMD UG994, "Inferring Control Signals in a RTL Module". The frequency is left
    out, so that a block design takes it from the clock that is connected.

    Parameters
    ----------
    bits : mapping of str to int
        Widths of all ports, by name.
    max_burst, outstanding : int
        Most beats of a burst, and most bursts in flight, of a read master.
    """
    every = interfaces(bits)
    most = max_burst
    if "m_axi_rdata" in bits:
        most = min(max_burst, PAGE_BYTES // (bits["m_axi_rdata"] // 8))
    burst = {"MAX_BURST_LENGTH": most, "NUM_READ_OUTSTANDING": outstanding}
    found: dict[str, dict[str, str]] = {}
    for own in every:
        for port, signal in own.ports.items():
            found[port] = {"X_INTERFACE_INFO": f"{own.kind.vivado} {own.name} {signal}"}
        parameters = _parameters(own, every, bits, burst)
        text = ", ".join(f"{name} {value}" for name, value in parameters.items())
        found[next(iter(own.ports))]["X_INTERFACE_PARAMETER"] = text
    return found
