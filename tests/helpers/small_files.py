# SPDX-License-Identifier: Apache-2.0
"""Small compressed files, one for every codec and kind of tensor, for readers and attackers."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from xorloom.sw.index.plane import choose_index
from xorloom.sw.model.codec import encode_tensor
from xorloom.sw.model.container import (
    CompressedTensor,
    ForeignTensor,
    StoredTensor,
    content_crc32,
    write_container,
)
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.hashed import HashedConfig
from xorloom.sw.spec.index_config import EntropyConfig, LowrankConfig, NoneConfig, TrellisConfig
from xorloom.sw.spec.weight_format import Decoder, index_for
from xorloom.sw.tensors.quantize import Quantized, Quantizer, quantize
from xorloom.sw.value.direct.codec import decode

from tests.helpers.direct import random_streams

__all__ = ["NAMES", "NEW", "VERSION_2", "small_files"]

VERSION_2 = Path(__file__).parents[1] / "sw/model/container/version2"
"""Files of the release that wrote version 2 last."""
NEW = (
    "block",
    "window",
    "patches",
    "entropy",
    "trellis",
    "lowrank",
    "hashed",
    "none",
    "direct",
    "codes",
    "mixed",
)
NAMES = (*NEW, *(f"v2-{name}" for name in ("block", "codes", "entropy", "trellis", "window")))
"""Names of :func:`small_files`: making them compiles kernels, which nobody is to do on import."""
W = WindowConfig(n_in=8, n_out=64, window=64, shared=16, frame=16, bus_bits=32)
PATCHES = WindowConfig(n_in=32, n_out=128, window=64, shared=16, frame=16, bus_bits=64, patches=1)
BLOCK = BlockConfig(n_in=6, n_out=20, lanes=2, bus_bits=32)
ENTROPY = EntropyConfig(n_out=64, lanes=4, bus_bits=32)
HASHED = HashedConfig(n_out=64, threshold=60, bus_bits=32)
NONE = NoneConfig(n_out=64, bus_bits=32)
DIRECT = DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32, network_seed=1)
D = Decoder(DIRECT, index_for(DIRECT, 3))
LEVELS = Quantizer("trellis", 3)
CLASSES = TrellisConfig(n_in=16, n_out=64, window=8, minterms=9, classes=4, period=16, bus_bits=32)
BIAS = StoredTensor("bias", {"": ("F16", (3,), b"123456")})


def tensor(
    name: str,
    decoder: Decoder,
    quantizer: Quantizer | None = None,
    *,
    planes: int = 1,
    order: str = "auto",
    dtype: str = "F32",
    shape: tuple[int, ...] = (6, 60),
    per_stream: int | None = None,
    given: Quantized | None = None,
    rotation: int | None = None,
) -> StoredTensor:
    """Compress random weights; without a quantizer they are codes of a user, maybe ``given``.

    Values that the codec chooses are those of random seeds.
    """
    rng = np.random.default_rng(len(name) + sum(shape) + planes)
    weights = rng.standard_normal(shape).astype(np.float32)
    mask, chosen = rng.random(shape) < (1 if decoder.index.keeps_all else 0.3), None
    if decoder.index.chooses_mask:
        per_stream = per_stream or 16
        chosen = choose_index(np.abs(weights), 0.2, decoder.index, order, per_stream)
        mask = chosen.mask
    values = None
    if isinstance(decoder.value, DirectConfig):
        assert quantizer is not None
        values = random_streams(decoder.value, weights.size, per_stream or 1 << 20, order)
        scales = rng.standard_normal(quantizer.scale_shape(shape)).astype(np.float16)
        q = Quantized(mask, decode(values, shape, decoder.value), scales, levels=values.levels)
    elif quantizer is None:
        codes = (rng.integers(0, 1 << planes, shape) * mask).astype(np.uint8)
        q = given or Quantized(mask, codes, np.zeros((0, 0), np.float16))
    else:
        q = quantize(weights, mask, quantizer, fixed_mask=chosen is not None)
    encoded = encode_tensor(
        q,
        planes,
        decoder,
        order=order,
        slices_per_stream=per_stream,
        chosen=chosen,
        values=values,
        has_scales=quantizer is not None,
    )
    info = CompressedTensor(
        shape,
        dtype,
        planes,
        content_crc32(q.mask, q.codes, q.levels),
        quantizer,
        decoder,
        encoded.layout,
        0.125,
        rotation,
    )
    parts = {
        ".xl_stream": ("U8", (len(encoded.stream),), encoded.stream),
        ".xl_index": ("U8", (len(encoded.index),), encoded.index),
    }
    if quantizer:
        kind = {"float16": "F16", "float32": "F32"}[q.scales.dtype.name]
        parts[".xl_scale"] = (kind, q.scales.shape, q.scales.tobytes())
    return StoredTensor(name, parts, info)


def _crowded() -> Quantized:
    """Codes of slices that keep more weights than the window has bits: they take patches."""
    rng = np.random.default_rng(1)
    mask = np.zeros((20, 128), np.bool_)
    mask[:, :20] = True
    mask[::10, :66] = True
    codes = (rng.integers(0, 2, mask.shape) * mask).astype(np.uint8)
    return Quantized(mask, codes, np.zeros((0, 0), np.float16))


@lru_cache
def small_files() -> dict[str, bytes]:
    """Return files by name; those of version 2 begin with ``v2-``."""
    foreign = StoredTensor("text", {"": ("U8", (4,), b"abcd")}, ForeignTensor("|S2", (2,), "npy"))
    group = Quantizer(scale="group", group=64)
    bitmap = Decoder(W, index_for(W, 1))
    made: dict[str, list[StoredTensor]] = {
        "block": [tensor("w", Decoder(BLOCK, index_for(BLOCK, 2)), Quantizer(planes=2), planes=2)],
        "window": [
            tensor(
                "w",
                Decoder(W, index_for(W, 2)),
                Quantizer("alternating", 2, axis=1),
                planes=2,
                dtype="BF16",
                order="skewed-column",
            ),
            foreign,
        ],
        "patches": [
            tensor(
                "w",
                Decoder(PATCHES, index_for(PATCHES, 1)),
                order="row",
                dtype="U8",
                shape=(20, 128),
                given=_crowded(),
            )
        ],
        "entropy": [tensor("w", Decoder(W, ENTROPY), group, dtype="F8_E4M3", per_stream=2)],
        "trellis": [
            tensor("w", Decoder(W, CLASSES), group, dtype="F16", order="skewed", shape=(30, 60))
        ],
        "lowrank": [
            tensor(
                "w",
                Decoder(
                    W, LowrankConfig(n_out=64, tile_slices=4, tile_lanes=8, rank=2, bus_bits=32)
                ),
                Quantizer(scale="tensor"),
                order="column",
                dtype="F8_E5M2",
            )
        ],
        "hashed": [tensor("w", Decoder(W, HASHED), Quantizer(), order="skewed", per_stream=4)],
        "none": [tensor("w", Decoder(W, NONE), Quantizer(), per_stream=4)],
        "direct": [
            tensor(
                "w", D, LEVELS, planes=3, order="column", shape=(7, 12), rotation=1, per_stream=2
            ),
            tensor("plain", D, replace(LEVELS, scale="group", group=50), planes=3, order="skewed"),
            tensor("c", D, LEVELS, planes=3, order="row", shape=(3, 2, 5, 5), rotation=2**64 - 1),
            tensor("v", D, LEVELS, planes=3, order="column", shape=(96,), rotation=3, dtype="F16"),
            tensor("none", D, LEVELS, planes=3, order="column", shape=(0, 7), rotation=0),
            tensor("one", D, LEVELS, planes=3, order="column", shape=(), dtype="F8_E4M3FNUZ"),
        ],
        "codes": [tensor("w", Decoder(W, index_for(W, 3)), planes=3, order="strided", dtype="I8")],
        "mixed": [
            tensor("v", bitmap, Quantizer("ternary"), dtype="F64", shape=(90,)),
            tensor(
                "a.w",
                Decoder(W, ENTROPY),
                Quantizer(scale_dtype="float32"),
                order="row",
                dtype="F8_E4M3FNUZ",
            ),
            tensor("none", bitmap, Quantizer(), shape=(0, 7)),
            tensor("one", bitmap, Quantizer(), shape=()),
            tensor(
                "u",
                Decoder(BLOCK, index_for(BLOCK, 1)),
                Quantizer(),
                shape=(5, 3, 4),
                dtype="F8_E5M2FNUZ",
            ),
            tensor("nothing", Decoder(BLOCK, index_for(BLOCK, 1)), Quantizer(), shape=(0,)),
            tensor(
                "q", Decoder(W, index_for(W, 4)), Quantizer("uniform", 4), planes=4, dtype="F16"
            ),
        ],
    }
    found = {}
    with TemporaryDirectory() as folder:
        for name, tensors in made.items():
            path = Path(folder) / name
            ties = {"tie": "w", "tie2": "bias"} if name == "window" else {}
            write_container(path, [*tensors, BIAS], metadata={"format": "pt"}, ties=ties)
            found[name] = path.read_bytes()
    for path in sorted(VERSION_2.glob("*.safetensors")):
        found[f"v2-{path.stem}"] = path.read_bytes()
    return found
