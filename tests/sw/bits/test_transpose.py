# SPDX-License-Identifier: Apache-2.0
import numpy as np
from numba import njit
from xorloom.sw.bits.transpose import transpose


@njit
def call(words, at):
    transpose(words, at)


def test_transpose_exchanges_rows_and_columns_of_its_words_only(rng):
    for at in (0, 3):
        words = rng.integers(0, 2**64 - 1, 70, dtype=np.uint64, endpoint=True)
        found = words.copy()
        call(found, np.uint64(at))
        bits = np.unpackbits(words[at : at + 64].view(np.uint8), bitorder="little")
        turned = np.packbits(bits.reshape(64, 64).T, bitorder="little").view(np.uint64)
        assert found[at : at + 64].tolist() == turned.tolist()
        assert found[:at].tolist() == words[:at].tolist()
        assert found[at + 64 :].tolist() == words[at + 64 :].tolist()
