# SPDX-License-Identifier: Apache-2.0
"""Register map: the registers as data, and the texts made from them.

The texts are Markdown, a C header and Python constants. All builds have the same offsets;
registers and fields that a build lacks read as 0 and ignore writes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from xorloom.sw.spec import layout

__all__ = [
    "ADDRESS_BITS",
    "CAUSES",
    "COUNTERS",
    "MAGIC",
    "MAP",
    "REGISTERS",
    "VERSION",
    "Cause",
    "Field",
    "Register",
    "c_header",
    "identity",
    "markdown",
    "python_constants",
]

MAGIC = int.from_bytes(layout.MAGIC, "little")
VERSION = 1
"""Version of the register map."""
ADDRESS_BITS = 8
"""Width of a byte address on the AXI4-Lite port."""
# In two parts, so that tools find only one licence line in this file.
_LICENCE = "SPDX-" + "License-Identifier: Apache-2.0"


class Cause(IntEnum):
    """Why a stream was given up or a start was refused."""

    NONE = 0
    HEADER = 1
    NETWORK = 2
    TRUNCATED = 3
    CRC = 4
    LENGTH = 5
    SCHEDULE = 6
    SLVERR = 7
    DECERR = 8
    BUSY = 9
    DESCRIPTOR = 10
    ABORTED = 11


CAUSES = {
    Cause.NONE: "no error",
    Cause.HEADER: "header wrong: magic, version, kind, reserved bits or counts",
    Cause.NETWORK: "stream made for another network",
    Cause.TRUNCATED: "data ends before the stream does",
    Cause.CRC: "checksum wrong",
    Cause.LENGTH: "payload does not fit the count",
    Cause.SCHEDULE: "no progress: impossible order of words",
    Cause.SLVERR: "bus answered SLVERR",
    Cause.DECERR: "bus answered DECERR",
    Cause.BUSY: "start refused: descriptor queue full",
    Cause.DESCRIPTOR: "start refused: length 0 or not whole bus words, address not aligned, or "
    "beyond the top of memory (ADDRESS_BITS)",
    Cause.ABORTED: "software asked",
}
"""What each cause means."""


@dataclass(frozen=True)
class Field:
    """A field: some bits of a register.

    ``access`` is ``ro``, ``rw``, ``w1c`` (reads the state, writing 1 clears it) or ``wo`` (writing
    1 triggers something once; reads 0).
    """

    name: str
    low: int
    bits: int
    access: str
    meaning: str

    @property
    def mask(self) -> int:
        """The bits of the field, at their place in the register."""
        return ((1 << self.bits) - 1) << self.low


@dataclass(frozen=True)
class Register:
    """A 32-bit register at a byte offset."""

    name: str
    offset: int
    meaning: str
    fields: tuple[Field, ...]

    def __getitem__(self, name: str) -> Field:
        return next(field for field in self.fields if field.name == name)

    def pack(self, **values: int) -> int:
        """Return the word with these fields; the others are 0."""
        word = 0
        for name, value in values.items():
            assert value & self[name].mask >> self[name].low == value, f"{self.name}.{name}"
            word |= value << self[name].low
        return word

    def unpack(self, word: int) -> dict[str, int]:
        """Return all fields of a word, by name."""
        return {field.name: (word & field.mask) >> field.low for field in self.fields}


COUNTERS = {
    "CYCLES": "clocks while busy",
    "WORDS": "bus words taken in",
    "STARVED": "clocks in which the decoder would take a word and none is there, while busy",
    "BLOCKED": "clocks in which the decoder does not take a word, though its output is not stalled",
    "STALLED": "clocks in which an output beat is offered and not taken",
    "BEATS": "output beats taken",
    "STREAMS": "memory streams that ended well",
}
"""Counters in the order of their registers, and what they count."""


def _whole(name: str, offset: int, access: str, meaning: str) -> Register:
    return Register(name, offset, meaning, (Field("VALUE", 0, 32, access, meaning),))


def _irq(name: str, low: int) -> Field:
    return Field(name, low, 1, "rw", f"interrupt while STATUS.{name}")


REGISTERS = (
    Register(
        "ID",
        0x00,
        "what this is",
        (
            Field("MAGIC", 0, 16, "ro", f"0x{MAGIC:04x}: the letters XL"),
            Field("VERSION", 16, 8, "ro", f"of this register map: {VERSION}"),
        ),
    ),
    Register(
        "CONFIG",
        0x04,
        "how it was built",
        (
            Field("BUS_BITS", 0, 12, "ro", "bus word"),
            Field("PLANES", 12, 8, "ro", "bits of a weight"),
            Field("ADDRESS_BITS", 20, 7, "ro", "of memory addresses; 0 without a reader"),
            Field("READER", 27, 1, "ro", "1: reads memory itself; 0: fed by AXI4-Stream"),
            Field("QUEUE", 28, 4, "ro", "descriptors that the queue holds"),
        ),
    ),
    Register(
        "SHAPE",
        0x08,
        "sizes",
        (
            Field("N_OUT", 0, 16, "ro", "bits of a slice"),
            Field(
                "ALIGN_BYTES", 16, 13, "ro", "an address is a multiple of it; 0 without a reader"
            ),
            Field("LEVELS", 29, 1, "ro", "1: puts out levels, 8 bits for each weight; 0: codes"),
            Field("PLANAR", 30, 1, "ro", "1: output beats are planar; 0: packed"),
        ),
    ),
    _whole("KINDS", 0x0C, "ro", "bit k: index kind k of the memory stream is understood"),
    _whole("NETWORK", 0x10, "ro", "network id of the value codec"),
    Register(
        "CONTROL",
        0x20,
        "things to do",
        (
            Field("START", 0, 1, "wo", "queue the descriptor in ADDRESS and LENGTH"),
            Field("ABORT", 1, 1, "wo", "give up all that is queued or in work"),
            Field("CLEAR_COUNTERS", 2, 1, "wo", "set all counters to 0"),
        ),
    ),
    Register(
        "STATUS",
        0x24,
        "state",
        (
            Field("BUSY", 0, 1, "ro", "something is queued or in work"),
            Field("DONE", 1, 1, "w1c", "a memory stream ended well"),
            Field(
                "ERROR",
                2,
                1,
                "w1c",
                "see CAUSE; clearing it clears that too. It rises when all good streams before the "
                "bad one have ended; those behind it are given up",
            ),
            Field(
                "IDLE",
                3,
                1,
                "w1c",
                "BUSY has fallen, all that was started is over; new work clears it",
            ),
            Field("CAUSE", 4, 4, "ro", "of the first error since ERROR was cleared"),
            Field("QUEUE_SPACE", 8, 4, "ro", "starts that can be taken now"),
        ),
    ),
    # As in STATUS, so that one mask serves both.
    Register(
        "IRQ_ENABLE", 0x28, "interrupts", (_irq("DONE", 1), _irq("ERROR", 2), _irq("IDLE", 3))
    ),
    _whole(
        "ADDRESS_LO",
        0x30,
        "rw",
        "address of the next descriptor, bits 31 to 0; bits beyond ADDRESS_BITS read 0, but a "
        "start is refused if one was written 1",
    ),
    _whole("ADDRESS_HI", 0x34, "rw", "bits 63 to 32, likewise"),
    _whole("LENGTH", 0x38, "rw", "bytes of the next descriptor: whole bus words, at least one"),
    *(
        _whole(name, 0x40 + 4 * k, "ro", meaning)
        for k, (name, meaning) in enumerate(COUNTERS.items())
    ),
)
"""All registers, by offset."""
MAP = {register.name: register for register in REGISTERS}
"""All registers, by name."""


def identity(**sizes: int) -> dict[str, int]:
    """Return the words of the read-only registers that tell how a decoder was built.

    Parameters
    ----------
    sizes
        ``bus_bits, n_out, planes, levels, planar, kinds, network, reader, address_bits,
        align_bytes, queue``.
    """
    fields = {name.upper(): value for name, value in sizes.items()}
    if not sizes["reader"]:
        fields |= {"ADDRESS_BITS": 0, "ALIGN_BYTES": 0, "QUEUE": 0}
    fields |= {"MAGIC": MAGIC, "VERSION": VERSION}
    words = {
        name: MAP[name].pack(**{field.name: fields[field.name] for field in MAP[name].fields})
        for name in ("ID", "CONFIG", "SHAPE")
    }
    return words | {name: fields[name] for name in ("KINDS", "NETWORK")}


def _constants() -> Iterator[tuple[str, int, str]]:
    """Yield name, value and format of each constant but the causes."""
    yield "MAGIC", MAGIC, "#06x"
    yield "MAP_VERSION", VERSION, "d"
    for register in REGISTERS:
        yield register.name, register.offset, "#04x"
        if [field.name for field in register.fields] != ["VALUE"]:
            for field in register.fields:
                yield f"{register.name}_{field.name}_SHIFT", field.low, "d"
                yield f"{register.name}_{field.name}_MASK", field.mask, "#010x"


def markdown() -> str:
    """Return the tables of registers and causes as Markdown."""
    lines = [
        "Offsets are bytes. All registers have 32 bits; bits without a name read 0. Offsets",
        "without a register, and registers that a build lacks, read 0 and ignore writes.",
        "",
        "| offset | register | bits | field | access | meaning |",
        "|--------|----------|------|-------|--------|---------|",
    ]
    for register in REGISTERS:
        for field in register.fields:
            high = field.low + field.bits - 1
            bits = f"{high}:{field.low}" if field.bits > 1 else str(field.low)
            name = "" if field.name == "VALUE" else f"`{field.name}`"
            lines.append(
                f"| `0x{register.offset:02x}` | `{register.name}` | {bits} | {name} "
                f"| {field.access} | {field.meaning} |"
            )
    lines += [
        "",
        "`ro`: read only. `rw`: read and write. `w1c`: reads the state, writing 1 clears it. `wo`:",
        "writing 1 does it once, reads 0.",
        "",
        "| cause | name | meaning |",
        "|-------|------|---------|",
        *(f"| {cause.value} | `{cause.name}` | {meaning} |" for cause, meaning in CAUSES.items()),
    ]
    return "\n".join(lines) + "\n"


def c_header(prefix: str = "xorloom") -> str:
    """Return a C99 header: offsets, shifts and masks as macros, causes as an enum.

    All its names begin with ``prefix``, in capitals in macros.
    """
    capitals = prefix.upper()
    guard = f"{capitals}_REGISTERS_H"
    lines = [
        f"/* {_LICENCE} */",
        "/* Registers of the xorloom decoder. Generated from the register map: do not edit. */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        *(
            f"#define {capitals}_{name} {value:{form}}{'' if name.endswith('_SHIFT') else 'u'}"
            for name, value, form in _constants()
        ),
        "",
        f"enum {prefix}_cause {{",
        *(
            f"    {capitals}_CAUSE_{cause.name} = {cause.value}"
            f"{',' if cause is not list(Cause)[-1] else ''} /* {meaning} */"
            for cause, meaning in CAUSES.items()
        ),
        "};",
        "",
        f"#endif /* {guard} */",
    ]
    return "\n".join(lines) + "\n"


def python_constants() -> str:
    """Return Python source with the same constants, for software that has no xorloom."""
    lines = [
        f"# {_LICENCE}",
        '"""Registers of the xorloom decoder. Generated from the register map: do not edit."""',
        "",
        *(f"{name} = {value:{form}}" for name, value, form in _constants()),
        "",
        *(f"CAUSE_{cause.name} = {cause.value}  # {text}" for cause, text in CAUSES.items()),
    ]
    return "\n".join(lines) + "\n"
