# SPDX-License-Identifier: Apache-2.0
"""Small JSON as commands print it, one of every kind that the report knows."""

import json
from pathlib import Path
from typing import Any

__all__ = ["EXAMPLES", "HOSTILE", "written"]

HOSTILE = "</script><script>alert(1)</script><b>&\"'.weight"
CONFIG = {
    **{"n_in": 32, "n_out": 512, "window": 512, "own_taps": 1, "shared_taps": 3, "shared": 256},
    **{"parity_taps": 4, "frame": 128, "patches": 0, "bus_bits": 64, "network_seed": 0},
}
BLOCK = {
    **{"n_in": 20, "n_out": 200, "lanes": 3, "patches_per_cycle": 1, "bus_bits": 64},
    **{"block_groups": 16, "network_seed": 0},
}
TRELLIS = {
    **{"codec": "trellis", "n_in": 80, "n_out": 512, "window": 14, "minterms": 3, "classes": 1},
    **{"period": 384, "bus_bits": 64, "network_seed": 0},
}
TENSOR = {
    **{"weights": 1000, "kept": 100, "planes": 1, "index": 160, "seeds": 90, "control": 20},
    **{"scales": 16, "overhead": 4, "mask_entropy": 469.0, "value_entropy": 100.0, "patches": 10},
    **{"error": 0.73, "share_of_dense_bound": 0.81},
}
KEPT = {"tensor": "w", "density": 0.1, "index_bits": 0.16, "kept": 0.79, "kept_bound": 0.81}
SYNTH = {
    **{"design": "xorloom_window_decoder", "target": "ecp5", "lut": 1068, "ff": 1682},
    **{"nand2": None, "fmax_mhz": 199.0, "fmax_min_mhz": 172.0, "seeds": 5},
}
SIMULATION = {
    **{"case": "6 tensors", "unit": "ip", "bus_bits": 64, "memory": "ideal", "weights": 1769472},
    **{"bit_exact": True, "cycles": 7176, "model_cycles": 7145, "cycles_to_model": 1.0043},
    "weights_per_cycle": 246.6,
}
VALUE = {
    **{"codec": "window", "sparsity": 0.9, "n_in": 32, "n_out": 512, "planes": 1},
    **{"bits_per_weight": 0.1003, "efficiency": 0.997, "lossless": True, "weights": 10},
}
BUS = {
    **{"design": "xorloom", "memory": "ddr3-1600", "case": "minilm-ffn0", "sparsity": 0.9},
    **{"bits_per_weight": 0.27, "bit_exact": True, "bus_mbytes_per_s": 700.0},
    **{"mweights_per_s": 20000.0, "of_memory": 0.98},
}


def timeline() -> dict[str, str]:
    """Two header clocks, four chunks that fill a window, then a slice every other step."""
    steps = "00" + "1" * 40
    emit = "0" * 7 + "10" * 17 + "1"
    return {
        **{"in_valid": "1" * 42, "in_ready": "10" * 21, "step": steps},
        **{"opens_frame": "0001" + "0" * 38, "has_slice": emit},
        **{"out_valid": "00" + emit[:-2], "out_ready": "1" * 42},
    }


EXAMPLES: dict[str, Any] = {
    "demo": {
        **{"command": "xorloom demo", "bit_exact": True, "config": CONFIG, "index": TRELLIS},
        **{"kept": [KEPT], "bits": {"a.w": TENSOR, "b.w": TENSOR}, "simulation": SIMULATION},
        "synthesis": [SYNTH, SYNTH | {"target": "ice40", "fmax_mhz": None, "fmax_min_mhz": None}],
    },
    "inspect": {
        **{"command": "xorloom inspect m.safetensors", "codec": "window", "config": CONFIG},
        **{"index": {"codec": "trellis", "config": TRELLIS}, "frames": {}, "fifos": []},
        "tensors": {HOSTILE: TENSOR | {"index": 400}, "other": TENSOR},
    },
    "compress": {
        **{"command": "xorloom compress m.npz -o m.safetensors", "codec": "window"},
        **{
            "config": CONFIG,
            "tensors": {"w": TENSOR | {"index": 80}},
            "kept": [KEPT | {"kept": 0.7}],
        },
    },
    "simulate": SIMULATION
    | {"command": "xorloom simulate --timeline", "config": CONFIG, "timeline": timeline()},
    "block": SIMULATION
    | {"command": "xorloom simulate --value block", "config": BLOCK, "case": "block"},
    "synth": {
        **{
            "command": "xorloom synth --n-in 16",
            "codec": "window",
            "config": CONFIG | {"n_in": 16},
        },
        "rows": [SYNTH | {"lut": 1086}],
    },
    "units": {
        **{"command": "xorloom synth --by-unit", "design": "xorloom_window_decoder"},
        "rows": [
            {"unit": "decoder unit", "lut": 906, "ff": 1509, "lut_ram": 0},
            {"unit": "decoder frames", "lut": 165, "ff": 173, "lut_ram": 0},
        ],
    },
    "bandwidth": {
        **{"command": "xorloom bandwidth m.safetensors", "clock_mhz": 100.0, "bus_bits": 64},
        "bits_per_weight": {"xorloom": 0.29, "dense": 2.0},
        "rows": [
            {
                **{"memory": "ddr3-1600", "title": "DDR3-1600 x16", "bus_mbytes_per_s": 800.0},
                "mweights_per_s": {"xorloom": 22000.0, "dense": 3200.0},
            }
        ],
    },
    "value": [
        {"command": "xorloom bench value", **VALUE},
        {"command": "xorloom bench value", **VALUE, "sparsity": 0.5, "efficiency": 0.994},
        {"command": "xorloom bench value", **VALUE, "codec": "block", "efficiency": 0.69},
    ],
    "matrices": [{"command": "xorloom bench matrices", **VALUE, "matrices": 36}],
    "curve": [
        {
            **{"command": "xorloom bench curve", "sparsity": 0.91, "n_in": 20, "n_out": n},
            **{"bits_per_weight": 0.1 + n / 5000, "seeds": 0.1, "control": 0.01, "patches": 0.02},
        }
        for n in (100, 150)
    ],
    "index": [
        {
            **{"command": "xorloom bench index", "codec": codec, "tensor": "minilm", "tensors": 36},
            **{"density": 0.09, "rate": 0.167, "kept": kept, "kept_bound": 0.837},
            **{"error": 0.72, "share_of_dense_bound": 0.92},
        }
        for codec, kept in (("trellis", 0.817), ("lowrank", 0.755))
    ],
    "rate": [
        {
            **{"command": "xorloom bench rate", "codec": codec, "source": name, "options": "--x 1"},
            **{"rate_bits": rate, "error": error, "bound_bits_gap": gap, "energy": 1 - error},
            **{"energy_share_of_bound": 0.99, "lut4_per_weight": luts, "fmax_mhz": None},
            **{"share_of_dense_bound": 0.98, "mweights_per_s": luts},
        }
        for name in ("minilm", "gaussian")
        for codec, rate, error, gap, luts in (
            ("bound", 1.0, 0.25, 0.0, None),
            ("bound", 2.0, 0.0625, 0.0, None),
            ("direct-10", 0.25, 0.72, 0.01, 1.5),
            ("direct-10", 2.01, 0.075, 0.14, 4.5),
            ("lloyd-max", 2.0, 0.1175, 0.45, None),
        )
    ],
    "total": [
        {
            **{"command": "xorloom bench total", "case": "alexnet-fc", "index": "trellis"},
            **{"density": 0.09, "index_bits": 0.166, "bits_per_weight": 0.258, "kept": 0.83},
            **{"error": 0.726, "share_of_dense_bound": 0.91, "lossless": True},
        }
    ],
    "bus": [
        {"command": "xorloom bench bus", **BUS},
        {"command": "xorloom bench bus", **BUS, "design": "csr", "bits_per_weight": 1.74},
    ],
    "area": [
        {
            **SYNTH,
            **{"command": "xorloom synth --target gowin", "target": "gowin"},
            **{"design": "paper block, 8 patches", "lut_per_weight_bit": 14.2},
        }
    ],
    "ratio": [
        {
            **{"command": "xorloom bench area --ratio", "kind": "unit", "design": "window 512"},
            **{"paper": "paper lane, 8 patches", "target": "ecp5", "ratio": 4.6},
        }
    ],
    "explore": {
        **{"command": "xorloom explore m.safetensors", "objectives": ["lut", "bits_per_weight"]},
        "rows": [
            {
                **{"value": "window", "n_in": 32, "index": "trellis", "bits_per_weight": bits},
                **{"lut": lut, "fmax_mhz": 200.0, "mweights_per_s": 20000.0, "pareto": front},
                **{"kept": 0.8, "lut_per_weight": lut and lut / 246},
            }
            for bits, lut, front in ((0.29, 1000, True), (0.31, 1100, False), (0.3, None, False))
        ],
    },
    "boards": {
        "command": "xorloom boards",
        "rows": [
            {
                **{"board": "ulx3s", "weights": 147456, "lut": [3000, 83640]},
                **{"clock_mhz": 100.0, "fmax_mhz": 104.2, "bitstream": "ulx3s.bit"},
            }
        ],
    },
    "speed": [
        {
            **{"command": "xorloom bench speed", "what": "encode", "mweights_per_s": 50.0},
            "threads": 2,
        }
    ],
}


def written(folder: Path, *names: str, **changed: Any) -> list[Path]:
    """Write examples, all or those named, with some replaced; return their files."""
    files = []
    for name, value in ({n: EXAMPLES[n] for n in names or EXAMPLES} | changed).items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(value))
        files.append(path)
    return files
