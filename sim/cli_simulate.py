# SPDX-License-Identifier: Apache-2.0
"""What ``xorloom simulate`` runs of decoders with an index, and its tables."""

from pathlib import Path
from typing import Any

__all__ = ["indexed_row", "indexed_rows", "simulation_rows"]


def indexed_row(
    unit: str,
    model: Path | None,
    tensors: list[str],
    memory: str | None,
    clock: float,
    source: str,
    sink: str,
    simulator: str,
    refused: dict[str, object],
) -> dict[str, Any]:
    """Simulate a decoder with an index on a model; ``refused`` are options it does not take.

    Raises
    ------
    ConfigError
        If no model, or an option is given that does not go with the unit.
    """
    from xorloom.sw.errors import ConfigError

    from .simulate_image import simulate_image
    from .simulate_index import simulate_model

    if unit == "ip" and source != "none":
        raise ConfigError("--source does not go with --unit ip: the memory decides, see --memory")
    if unit == "index":
        refused = refused | {"--memory": memory}
    for option, value in refused.items():
        if value is not None:
            raise ConfigError(f"{option} does not go with --unit {unit}")
    if model is None:
        raise ConfigError(f"--unit {unit} simulates a compressed model: name one")
    if unit == "index":
        return simulate_model(model, tensors, source=source, sink=sink, simulator=simulator)
    return simulate_image(
        model, tensors, memory=memory or "ideal", clock_mhz=clock, sink=sink, simulator=simulator
    )


def indexed_rows(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the table of the simulation of a decoder with an index."""
    if not row["bit_exact"]:
        return [("case", row["case"]), ("NOT BIT-EXACT", row["mismatch"])]
    if row["unit"] == "ip":
        checked, words = f"all of {row['weights']:,} weights", row["bus_words"]
    else:
        checked, words = f"{row['bits_checked']:,}", row["words"]
    rows = [
        ("case", row["case"]),
        ("decoder", f"{row['unit']}, {row['index']} index"),
        ("bits checked", f"{checked} in {row['beats']:,} beats, all equal"),
        ("bus words", f"{words:,} of {row['bus_bits']} bits"),
        ("cycles", f"{row['cycles']:,}"),
        ("model", f"{row['model_cycles']:,} cycles (ideal memory)"),
        ("measured / model", f"{row['cycles_to_model']:.3f}"),
        ("weights a cycle", f"{row['weights_per_cycle']:.1f}"),
    ]
    if row["unit"] == "ip":
        lost = ", ".join(f"{name} {n:,}" for name, n in row["stall_cycles"].items())
        rows += [
            ("memory", f"{row['memory']}, decoder at {row['clock_mhz']:g} MHz"),
            ("bus utilisation", f"{100 * row['bus_utilisation']:.1f} % payload"),
            ("cycles lost", lost),
        ]
    return rows


def simulation_rows(row: dict[str, object]) -> list[tuple[str, str]]:
    """Return the table of a simulation's result."""
    return [
        ("case", str(row["case"])),
        ("bits checked", f"{row['bits_checked']:,} of {row['slices']:,} slices, all equal"),
        ("bus words", f"{row['words']:,} of {row['bus_bits']} bits"),
        ("cycles", f"{row['cycles']:,}"),
        (
            "model",
            f"{row['model_cycles']:,} cycles ({row['model_limit']}-limited, {row['memory']})",
        ),
        ("measured / model", f"{row['cycles_to_model']:.3f}"),
        ("bus utilisation", f"{100 * row['bus_utilisation']:.1f} %"),  # type: ignore[operator]
        ("weights a cycle", f"{row['weights_per_cycle']:.1f}"),
        ("decoder made the bus wait", f"{row['input_waits']:,} cycles"),
        ("memory made the decoder wait", f"{row['starved']:,} cycles"),
        ("consumer made the decoder wait", f"{row['output_waits']:,} cycles"),
    ]
