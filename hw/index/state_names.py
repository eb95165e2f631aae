# SPDX-License-Identifier: Apache-2.0
"""Names of FSM states in the exported Verilog, where the writer of a waveform finds them."""

from collections.abc import Mapping

from amaranth.hdl import Signal

__all__ = ["name_states"]


def name_states(state: Signal, encoding: Mapping[str, int]) -> None:
    """Give the state register of an FSM the attributes that Amaranth gives to enum signals.

    By itself Amaranth exports no names of the states of an FSM.

    Parameters
    ----------
    state : Signal
        ``machine.state``, after the ``with`` block of ``m.FSM() as machine``.
    encoding : mapping
        ``machine.encoding``.
    """
    state.attrs["enum_base_type"] = state.name
    for name, value in encoding.items():
        state.attrs[f"enum_value_{value:0{len(state)}b}"] = name
