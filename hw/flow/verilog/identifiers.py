# SPDX-License-Identifier: Apache-2.0
"""Names that tools of all languages take as they are."""

import re

from xorloom.sw.base.errors import ConfigError

__all__ = ["JOINT", "LATE", "VERILOG_WORDS", "check_name"]

LATE = "~"
"""Begins names that are not to be taken where a net has another: the last one in the alphabet."""
JOINT = "__"
"""What stands between the parts of a name: of a module's path, of a port's, of a field's."""

# Ref: IEEE 1800-2017, annex B, table B.1
_VERILOG = """
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic
    before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle
    checker class clocking cmos config const constraint context continue cover covergroup
    coverpoint cross deassign default defparam design disable dist do edge else end endcase
    endchecker endclass endclocking endconfig endfunction endgenerate endgroup endinterface
    endmodule endpackage endprimitive endprogram endproperty endspecify endsequence endtable
    endtask enum event eventually expect export extends extern final first_match for force
    foreach forever fork forkjoin function generate genvar global highz0 highz1 if iff ifnone
    ignore_bins illegal_bins implements implies import incdir include initial inout input inside
    instance int integer interconnect interface intersect join join_any join_none large let
    liblist library local localparam logic longint macromodule matches medium modport module nand
    negedge nettype new nexttime nmos nor noshowcancelled not notif0 notif1 null or output package
    packed parameter pmos posedge primitive priority program property protected pull0 pull1
    pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence
    rcmos real realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran
    rtranif0 rtranif1 s_always s_eventually s_nexttime s_until s_until_with scalared sequence
    shortint shortreal showcancelled signed small soft solve specify specparam static string
    strong strong0 strong1 struct super supply0 supply1 sync_accept_on sync_reject_on table tagged
    task this throughout time timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand
    trior trireg type typedef union unique unique0 unsigned until until_with untyped use uwire
    var vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard wire with
    within wor xnor xor
"""
# Ref: IEEE 1076-2008, 15.10
_VHDL = """
    abs access after alias all and architecture array assert assume assume_guarantee attribute
    begin block body buffer bus case component configuration constant context cover default
    disconnect downto else elsif end entity exit fairness file for force function generate generic
    group guarded if impure in inertial inout is label library linkage literal loop map mod nand
    new next nor not null of on open or others out package parameter port postponed procedure
    process property protected pure range record register reject release rem report restrict
    restrict_guarantee return rol ror select sequence severity shared signal sla sll sra srl
    strong subtype then to transport type unaffected units until use variable vmode vprop vunit
    wait when while with xnor xor
"""
VERILOG_WORDS = frozenset(_VERILOG.split())
"""Reserved words of Verilog and SystemVerilog."""
_VHDL_WORDS = frozenset(_VHDL.split())
_LONGEST = 64


def check_name(name: str) -> None:
    """Check that a unit may have a name, in Verilog, VHDL, C, Python and as a file.

    Two underscores in a row are for the names of its submodules, which so are nobody else's.

    Raises
    ------
    ConfigError
        If it may not.
    """
    if len(name) > _LONGEST or not re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", name):
        raise ConfigError(
            f"name must be a letter, then letters, digits and single underscores between them, "
            f"at most {_LONGEST} in all, not {name!r}"
        )
    # VHDL does not tell capitals from small letters.
    if name in VERILOG_WORDS or name.lower() in _VHDL_WORDS:
        raise ConfigError(f"name must not be a reserved word of Verilog or VHDL, as {name!r} is")
