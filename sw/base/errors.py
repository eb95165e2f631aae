# SPDX-License-Identifier: Apache-2.0
"""Typed errors. Every message says what is wrong, where, and what to do about it."""

__all__ = [
    "CapacityError",
    "ConfigError",
    "DensityError",
    "DivergedError",
    "FormatError",
    "ToolError",
    "UnroutedError",
    "XorloomError",
    "check_range",
]


class XorloomError(Exception):
    """Base of every error that a user can cause."""


class ConfigError(XorloomError, ValueError):
    """An argument is out of range or two arguments do not fit: argument, value, allowed range."""


class FormatError(XorloomError, ValueError):
    """A file or stream is damaged or not ours: where, expected, found."""


class CapacityError(XorloomError, ValueError):
    """Valid data that needs more than the format or configuration allows."""


class DensityError(CapacityError):
    """An index that chooses masks cannot reach a density on so few weights; another codec can.

    Parameters
    ----------
    codec : str
        The index codec.
    wanted, found : int
        Weights to keep, and the nearest number that it can keep.
    weights : int
    name : str, optional
        Of the tensor.
    """

    def __init__(
        self, codec: str, wanted: int, found: int, weights: int, name: str | None = None
    ) -> None:
        where = "" if name is None else f"{name}: "
        super().__init__(
            f"{where}the {codec} index keeps {found} of {weights} weights, not {wanted}: it has no "
            "nearer mask (use --index entropy or bitmap, which keep any number, or another "
            "--density or --index-bits)"
        )
        self.codec, self.wanted, self.found, self.weights = codec, wanted, found, weights


class DivergedError(XorloomError, ArithmeticError):
    """Training came to a number that is not finite: step, and what to change."""


class ToolError(XorloomError, RuntimeError):
    """An external tool is missing or failed: command and log path."""


class UnroutedError(ToolError):
    """A router has given up on a placement; that of another seed may do.

    ``late``: it was stopped, as it took too long.
    """

    def __init__(self, text: str, *, late: bool = False) -> None:
        super().__init__(text)
        self.late = late


def check_range(
    name: str,
    value: object,
    low: int,
    high: int,
    hint: str = "",
    *,
    step: int = 1,
    power: bool = False,
) -> int:
    """Return ``value`` as a plain ``int`` if ``low <= value <= high``.

    Parameters
    ----------
    name : str
    value : object
    low, high : int
    hint : str
        Appended to the message in parentheses.
    step : int
        What the value must be a multiple of.
    power : bool
        Whether the value must be a power of two; then so are ``low`` and ``high``.

    Raises
    ------
    ConfigError
        If ``value`` is not an integer in the range, or of another kind. Every number that the
        message allows is taken.
    """
    tail = f" ({hint})" if hint else ""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ConfigError(f"{name} must be an integer, not {value!r}{tail}")
    number = int(value.__index__())
    kind = "a power of two " if power else f"a multiple of {step} " if step > 1 else ""
    low, high = -(-low // step) * step, high // step * step
    if not low <= number <= high or number % step or (power and number.bit_count() != 1):
        raise ConfigError(f"{name} must be {kind}between {low} and {high}, not {number}{tail}")
    return number
