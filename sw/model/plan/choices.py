# SPDX-License-Identifier: Apache-2.0
"""Choices in a compressed model: the masks that indexes chose, with the streams that hold them."""

from xorloom.sw.index.masks import Choice
from xorloom.sw.index.plane import decode_index
from xorloom.sw.model.container import INDEX, Container

__all__ = ["choices_of"]


def choices_of(container: Container) -> dict[str, Choice]:
    """Return the choice of every tensor whose index chose its mask, by name.

    Raises
    ------
    CapacityError
        If the file has more weights than are decoded unasked, see
        :meth:`xorloom.sw.model.container.reader.Container.check_weights`.
    FormatError
        If an index is damaged.
    """
    container.check_weights()
    found = {}
    for name, info in container.tensors.items():
        index, layout = info.decoder.index, info.layout
        if index.chooses_mask:
            seeds = container.raw(name + INDEX)
            where = container.label(name)
            mask = decode_index(
                seeds, info.shape, index, layout.order, layout.slices_per_stream, where
            )
            found[name] = Choice(mask, seeds, layout.order, index, layout.slices_per_stream)
    return found
