# SPDX-License-Identifier: Apache-2.0
"""Table of codecs: one line for every codec, in the order in which texts name them.

Every layer finds its own part of a codec by the codec's name:

============  =========================  ==========================  =====================
Layer         Index codec                Value codec                 What stands there
============  =========================  ==========================  =====================
parameters    ``index_config``           ``config``                  a class
golden model  ``sw.golden.index.NAME``   ``sw.golden.NAME``          ``NAME_decoder``
software      ``xorloom.sw.index.NAME``  ``xorloom.sw.value.NAME``   ``CODEC``
RTL           ``xorloom.hw.index.NAME``  ``xorloom.hw.NAME``         ``IndexName``, a shell
============  =========================  ==========================  =====================
"""

from .config import BlockConfig, ValueConfig, WindowConfig
from .direct import DirectConfig
from .hashed import HashedConfig
from .index_config import (
    BitmapConfig,
    EntropyConfig,
    IndexConfig,
    LowrankConfig,
    NoneConfig,
    TrellisConfig,
)

__all__ = ["INDEX_CODECS", "VALUE_CODECS"]

INDEX_CODECS: dict[str, type[IndexConfig]] = {
    config.codec: config
    for config in (
        BitmapConfig,
        EntropyConfig,
        TrellisConfig,
        LowrankConfig,
        HashedConfig,
        NoneConfig,
    )
}
VALUE_CODECS: dict[str, type[ValueConfig]] = {
    config.codec: config
    for config in (
        BlockConfig,
        WindowConfig,
        DirectConfig,
    )
}
