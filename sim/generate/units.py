# SPDX-License-Identifier: Apache-2.0
"""Plans of units: all parameters that options come to, and the Verilog."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import ConfigOptions, UnitOptions

if TYPE_CHECKING:
    from xorloom.hw.units import GeneratedVerilog
    from xorloom.sw.spec.config import ValueConfig
    from xorloom.sw.spec.index_config import IndexConfig

__all__ = ["UnitPlan", "UnitSource", "unit_plan", "unit_source"]


INDEXED = ("index", "core", "ip", "stream-ip")
"""Units with an index decoder."""
_HASH_DIGITS = 6
"""Hex digits of a name made of the parameters: enough for the few units of a design."""


@dataclass(frozen=True)
class UnitPlan:
    """All parameters of a unit.

    Parameters
    ----------
    name : str
        As ``--unit`` calls it.
    config : BlockConfig or WindowConfig
        Of the value codec.
    indexes : tuple
        Parameters of the index codecs; empty if the unit has none.
    planes : int
        Bits per weight.
    stages : int
        Of the block codec.
    levels : bool
        Of the direct codec: levels are put out instead of codes.
    beats : str
        Form of the output beats of IP blocks; empty for other units.
    memory : mapping
        All parameters of the read master, for ``ip``.
    pipeline : str
        Of the window decoder and of IP blocks; empty for other units.
    """

    name: str
    config: "ValueConfig"
    indexes: "tuple[IndexConfig, ...]" = ()
    planes: int = 1
    stages: int = 1
    levels: bool = False
    beats: str = ""
    memory: Mapping[str, int] = field(default_factory=dict)
    pipeline: str = ""

    @property
    def _generated(self) -> "ValueConfig | IndexConfig":
        """Configuration of the unit itself, for :func:`xorloom.hw.units.generate_unit`."""
        return self.indexes[0] if self.name in ("index", "core") else self.config

    def hashed_name(self) -> str:
        """Return a name for the top module that no unit with other parameters has."""
        import json

        from xorloom.hw.units import default_name
        from xorloom.sw.base.cache import digest

        facts = [self.name, self.planes, self.stages, self.levels, self.beats, self.pipeline]
        facts.append(dict(self.memory))
        configs = [(config.codec, config.to_dict()) for config in (self.config, *self.indexes)]
        mark = digest(json.dumps([facts, configs], sort_keys=True))[:_HASH_DIGITS]
        return f"{default_name(self.name, self._generated)}_{mark}"

    def verilog(self, name: str | None = None) -> "GeneratedVerilog":
        """Generate the unit.

        Parameters
        ----------
        name : str, optional
            Of the top module; default: what :func:`xorloom.hw.units.default_name` says.

        Raises
        ------
        ConfigError
            If the codec has no such unit, or parameters do not fit together, or no module can
            have the name.
        """
        from xorloom.hw.units import IP_UNITS, generate_unit

        if self.name not in IP_UNITS:
            return generate_unit(
                self.name,
                self._generated,
                name=name,
                stages=self.stages,
                levels=self.levels,
                pipeline=self.pipeline or None,
            )
        return generate_unit(
            self.name,
            self.config,
            name=name,
            indexes=self.indexes,
            planes=self.planes,
            levels=self.levels,
            beats=self.beats,
            memory=self.memory,
            pipeline=self.pipeline or None,
        )


def _indexes(options: ConfigOptions, unit: UnitOptions) -> "tuple[tuple[IndexConfig, ...], int]":
    """Return index codecs and planes, those of the model or as given."""
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.index.choice import index_config
    from xorloom.sw.memory.image import weight_formats
    from xorloom.sw.model.container import read_container
    from xorloom.sw.spec.codecs import INDEX_CODECS
    from xorloom.sw.spec.direct import DirectConfig

    from .index_text import has_parameters, index_from_text

    if options.model is not None:
        # One block can have several index decoders beside its one value decoder.
        forms = weight_formats(read_container(options.model), options.tensor or ())
        indexes = tuple(dict.fromkeys(form.index for form in forms.values()))
        return indexes, next(iter(forms.values())).planes
    value = options.config(unit.planes)
    names = unit.index or list(value.indexes[:1]) or ["trellis"]
    planes = value.planes if isinstance(value, DirectConfig) else unit.planes or 1
    chosen = [name for name in names if not has_parameters(name)]
    if unit.index_bits is not None and not chosen:
        raise ConfigError(
            f"index_bits goes with an index without parameters, not with {names[0]} (leave one out)"
        )
    if unit.index_classes != 1 and "trellis" not in names:
        raise ConfigError(
            f"index_classes goes with --index trellis, which chooses the other parameters, not "
            f"with {names[0]}"
        )
    # With several codecs, the rate goes to those that take one; a single codec refuses it itself.
    rated = {name for name in chosen if name in INDEX_CODECS and INDEX_CODECS[name].takes_rate}
    rated = rated or set(chosen)
    return tuple(
        index_from_text(name, value, planes)
        if has_parameters(name)
        else index_config(
            name,
            value,
            planes,
            density=unit.density,
            rate=unit.index_bits if name in rated else None,
            classes=unit.index_classes,
        )
        for name in names
    ), planes


def unit_plan(name: str, options: ConfigOptions, unit: UnitOptions) -> UnitPlan:
    """Resolve all parameters of a unit.

    Raises
    ------
    ConfigError
        If one is out of range, or not for this unit.
    """
    import inspect

    from xorloom.hw.ip.top import IpBlock
    from xorloom.hw.lib.slice_pipe import PIPELINES, check_pipeline
    from xorloom.hw.units import IP_UNITS, MEMORY_OPTIONS, has_pipeline
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.spec.layout import BEATS

    if unit.beats is not None and name not in IP_UNITS:
        raise ConfigError(f"--beats goes with --unit {' or '.join(IP_UNITS)}, not {name}")
    memory = unit.memory()
    if memory and name != "ip":
        given = ", ".join("--" + option.replace("_", "-") for option in memory)
        raise ConfigError(f"{given} goes with --unit ip, which reads memory, not {name}")
    config = options.config(unit.planes)
    indexes, planes = _indexes(options, unit) if name in INDEXED else ((), 1)
    codec = indexes[0].codec if name in ("index", "core") else config.codec
    pipeline = ""
    if has_pipeline(name, codec):
        pipeline = check_pipeline(unit.pipeline or PIPELINES[0])
    elif unit.pipeline is not None:
        raise ConfigError(
            f"--pipeline goes with --unit {', '.join(IP_UNITS)}, the window decoder and the "
            f"trellis index, not with {name} of {codec}"
        )
    if name not in INDEXED:
        return UnitPlan(
            name, config, stages=options.stages or 1, levels=unit.levels, pipeline=pipeline
        )
    if name in ("index", "core") and len(indexes) > 1:
        raise ConfigError(
            f"--unit {name} has one index; --unit ip and stream-ip take several "
            "(of a model, name tensors with --tensor)"
        )
    if name == "ip":
        known = inspect.signature(IpBlock).parameters
        memory = {option: known[option].default for option in MEMORY_OPTIONS} | memory
    return UnitPlan(
        name,
        config,
        indexes,
        planes,
        levels=unit.levels,
        beats=(unit.beats or BEATS[0]) if name in IP_UNITS else "",
        memory=memory,
        pipeline=pipeline,
    )


@dataclass(frozen=True)
class UnitSource:
    """Verilog of a unit: name of the top module, text, manifest."""

    name: str
    text: str
    manifest: dict[str, Any]


def source_folders() -> tuple[Path, ...]:
    """Return the folders whose Python files decide what Verilog a unit has."""
    import xorloom.hw
    import xorloom.sw

    packages = (xorloom.hw.__file__, xorloom.sw.__file__, __file__)
    return tuple(Path(str(file)).parent for file in packages)


def unit_source(
    name: str, options: ConfigOptions, unit: UnitOptions, *, cache: bool = True
) -> UnitSource:
    """Return the Verilog of a unit from the cache, or generate it.

    The key is made of its options and of the sources that decide it. Units of a compressed model
    are always generated. A unit from the cache imports nothing heavy.
    """
    from importlib.metadata import version

    from xorloom.sw.base.cache import cached, digest

    def make() -> dict[str, Any]:
        made = unit_plan(name, options, unit).verilog()
        return {"name": made.name, "text": made.text, "manifest": made.manifest}

    texts = [
        path.read_text(encoding="utf-8")
        for folder in source_folders()
        for path in sorted(folder.rglob("*.py"))
    ]
    tools = [version(tool) for tool in ("xorloom", "amaranth", "pyosys")]
    key = digest(name, asdict(options), asdict(unit), *tools, *texts)
    return UnitSource(**cached("verilog", key, make, use=cache and options.model is None))
