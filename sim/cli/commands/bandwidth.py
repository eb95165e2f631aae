# SPDX-License-Identifier: Apache-2.0
"""Command ``bandwidth``: speed on modelled memories."""

from pathlib import Path
from typing import Annotated

import typer
from xorloom.sim.cli.console.options import MaxWeights, refuse_beside_model
from xorloom.sim.cli.console.output import Json, print_json, print_table

__all__ = ["COMMANDS", "bandwidth"]


def bandwidth(
    context: typer.Context,
    model: Annotated[Path | None, typer.Argument(help="A compressed model.")] = None,
    bits_per_weight: Annotated[
        float | None, typer.Option(help="Instead of a model: total stored bits per weight.")
    ] = None,
    sparsity: Annotated[
        float, typer.Option(help="Of the baselines, with --bits-per-weight.")
    ] = 0.9,
    planes: Annotated[int, typer.Option(help="Of the baselines, with --bits-per-weight.")] = 1,
    clock: Annotated[float, typer.Option(help="Decoder clock in MHz.")] = 100.0,
    bus_bits: Annotated[int, typer.Option(help="Memory word in bits.")] = 64,
    max_weights: MaxWeights = None,
    as_json: Json = False,
) -> None:
    """Weights per second on real memories, beside dense, CSR and bitmask storage (a model)."""
    from xorloom.sim.bandwidth.presets import bandwidth_rows, baseline_bits
    from xorloom.sw.base.errors import ConfigError, check_range
    from xorloom.sw.model.container import read_container
    from xorloom.sw.model.reports.inspect import tensor_bits
    from xorloom.sw.spec.config import check_bus
    from xorloom.sw.tensors.codes import PLANES_MAX
    from xorloom.sw.tensors.prune import check_sparsity

    if (model is None) == (bits_per_weight is None):
        raise ConfigError("give either a compressed model or --bits-per-weight")
    if model is not None:
        refuse_beside_model(context, "sparsity", "planes")
        container = read_container(model, max_weights)
        buses = {decoder.value.bus_bits for decoder in container.decoders}
        if len(buses) != 1:
            raise ConfigError(
                f"{model}: tensors must be for one bus, not for {sorted(buses) or 'none'} bits"
            )
        bits = [tensor_bits(container, name) for name in container.tensors]
        total = sum(bits[1:], start=bits[0])
        stored, bus_bits = total.total / total.weights, buses.pop()
        cases = baseline_bits(total.kept / total.weights, total.planes)
        cases = {k: v + total.scales / total.weights for k, v in cases.items()}
    else:
        stored = float(bits_per_weight or 0)
        sparsity, planes = check_sparsity(sparsity), check_range("planes", planes, 1, PLANES_MAX)
        cases = baseline_bits(1 - sparsity, planes)
    if not (stored > 0 and clock > 0):
        raise ConfigError("bits per weight and clock must be positive")
    check_bus(bus_bits)
    cases["xorloom"] = stored
    rows = bandwidth_rows(clock, bus_bits, cases)
    if as_json:
        print_json(
            {"clock_mhz": clock, "bus_bits": bus_bits, "bits_per_weight": cases, "rows": rows}
        )
        return
    names = list(cases)
    title = f"Mweights/s at {clock:g} MHz x {bus_bits} bits (model)"
    print_table(
        title,
        ("memory", "MB/s peak", "efficiency", "one bank", "MB/s here", *names),
        [
            (
                row["title"],
                f"{row['peak_mbytes_per_s']:,.1f}",
                f"{row['efficiency']:.3f}",
                f"{row['efficiency_one_bank']:.3f}",
                f"{row['bus_mbytes_per_s']:,.1f}",
                *(f"{row['mweights_per_s'][name]:,.0f}" for name in names),
            )
            for row in rows
        ],
    )
    typer.echo("bits per weight: " + ", ".join(f"{k} {v:.3f}" for k, v in cases.items()))


COMMANDS = (bandwidth,)
