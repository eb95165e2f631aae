"""Masks as bitmap streams, whatever their shape."""

import numpy as np
from xorloom.sw import index_bitmap
from xorloom.sw.index_config import BitmapConfig


def pack_bitmap(mask, bus_bits):
    return index_bitmap.pack(mask, mask.size, BitmapConfig(bus_bits=bus_bits))


def unpack_bitmap(data, shape, bus_bits, where="index"):
    size = int(np.prod(shape, dtype=np.int64))
    beats = index_bitmap.unpack(data, size, BitmapConfig(bus_bits=bus_bits), where)
    return beats.reshape(-1)[:size].reshape(shape)
