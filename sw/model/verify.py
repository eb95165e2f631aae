# SPDX-License-Identifier: Apache-2.0
"""Proof that a compressed tensor decodes as it should: by checksum, and by the golden model."""

from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.bits.codec import value_codec
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.codecs import value_decoder
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.tensors.quantize import Quantized

from .codec import decode_tensor
from .container import STREAM, Container, content_crc32

__all__ = [
    "Verdict",
    "beat_bytes",
    "expected_bytes",
    "golden_codes",
    "verify_model",
    "verify_tensor",
]


def verify_tensor(container: Container, name: str) -> Quantized:
    """Decode a tensor and check it against what was compressed.

    Raises
    ------
    FormatError
        If mask or codes are not those that were compressed.
    """
    decoded = decode_tensor(container, name)
    found, expected = (
        content_crc32(decoded.mask, decoded.codes),
        container.tensor(name).content_crc32,
    )
    if found != expected:
        raise FormatError(
            f"{container.path}: {name}: mask and codes must have CRC-32 {expected:08x}, "
            f"decoded {found:08x}"
        )
    return decoded


@dataclass(frozen=True)
class Verdict:
    """What was found of one tensor of a file; ``message`` tells what is wrong, if something is."""

    tensor: str
    ok: bool
    message: str = ""


def verify_model(
    container: Container,
    *,
    golden: bool = False,
    progress: Progress = no_progress,
) -> list[Verdict]:
    """Check every tensor of a file against the checksums of what was compressed.

    Parameters
    ----------
    container : Container
    golden : bool
        Decode with the slow golden model as well, and compare.
    progress : callable
        Called with ``verify`` and every tensor's name.
    """
    verdicts = []
    for name in [*container.tensors, *container.untouched]:
        try:
            if name in container.tensors:
                decoded = verify_tensor(container, name)
                if golden and (golden_codes(container, name) != decoded.codes).any():
                    raise FormatError(f"{name}: fast decoder and golden model differ")
            else:
                container.raw(name)
            verdicts.append(Verdict(name, True))
        except FormatError as error:
            verdicts.append(Verdict(name, False, str(error)))
        progress("verify", name)
    return verdicts


def beat_bytes(config: ValueConfig) -> int:
    """Bytes of an output beat: its slices, filled up."""
    return -(-config.slices_per_beat * config.n_out // 8)


def expected_bytes(stream: bytes, config: ValueConfig) -> bytes:
    """Return the bytes that the decoder must put on ``m_axis`` for one memory stream."""
    beats = value_decoder(config, bus_words(stream, config.bus_bits))
    return b"".join(beat.to_bytes(beat_bytes(config), "little") for beat in beats)


def golden_codes(container: Container, name: str) -> np.ndarray:
    """Decode a compressed tensor with the golden model; codes are 0 where pruned."""
    info = container.tensor(name)
    config = info.decoder.value
    mask = decode_tensor(container, name).mask
    streams = split_streams(container.raw(name + STREAM), config.bus_bytes, name)
    data = b"".join(expected_bytes(stream, config) for stream in streams)
    flat = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    beats = flat.reshape(-1, 8 * beat_bytes(config))
    slices = beats[:, : config.slices_per_beat * config.n_out].reshape(-1, config.n_out)
    arrange = value_codec(config.codec).arrange
    codes = arrange(slices, mask.shape, info.planes, config, info.layout.order)
    return np.where(mask, codes, 0).astype(np.uint8)
