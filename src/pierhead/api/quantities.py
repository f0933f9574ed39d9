"""Quantities: ``500m``, ``1.5Gi``, ``1e3``. Parsed, compared and written as Kubernetes does.

The smallest amount is a billionth, what is finer is rounded away from zero; the largest is 2**63 - 1. The canonical form has no
fraction and the largest suffix that allows it (k8s.io/apimachinery ``resource.Quantity``).
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal, TypeAlias

import msgspec

Form: TypeAlias = Literal["binary", "decimal", "exponent"]

NANO = 10**9
MOST = (2**63 - 1) * NANO

_TEXT = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*)([+-]?[0-9]*)\Z", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_BINARY_SUFFIX = {0: "", **{power: suffix for suffix, power in _BINARY.items()}}
_LARGEST_EXPONENT = 40

_WRONG_FORM = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_WRONG_NUMBER = "unable to parse numeric part of quantity"
_WRONG_SUFFIX = "unable to parse quantity's suffix"


class Quantity(msgspec.Struct, frozen=True):
    """An amount, and the family of suffixes it was written with."""

    nano: int
    """Billionths."""
    form: Form = "decimal"

    def __str__(self) -> str:
        """The canonical form."""
        if self.nano == 0:
            return "0"
        if self.form == "binary" and abs(self.nano) >= 1024 * NANO and self.nano % NANO == 0:
            number, power = _without(self.nano // NANO, 1024)
            return f"{number}{_BINARY_SUFFIX[power]}"
        number, power = _without(self.nano, 1000)
        exponent = 3 * power - 9
        if self.form == "exponent":
            return f"{number}e{exponent}" if exponent else str(number)
        return f"{number}{_DECIMAL_SUFFIX[exponent]}"


def parse(text: str) -> Quantity:
    """Raises: ValueError with Kubernetes' text."""
    found = _TEXT.match(text)
    if found is None or not (found[2] or found[3]):
        raise ValueError(_WRONG_FORM)
    sign, whole, fraction, suffix, exponent = found.groups(default="")
    try:
        digits = int(whole + fraction)
    except ValueError as error:  # more digits than the interpreter reads
        raise ValueError(_WRONG_NUMBER) from error
    form, factor = _scale(suffix, exponent)
    amount = _rounded(Fraction(digits, 10 ** len(fraction)) * factor * NANO) if digits else 0
    return Quantity(-min(amount, MOST) if sign == "-" else min(amount, MOST), form)


def canonical(value: str | float) -> str:
    """A quantity as it is stored; JSON allows a number too.

    Raises:
        ValueError: with Kubernetes' text.
    """
    return str(parse(value.strip() if isinstance(value, str) else str(value)))


def _scale(suffix: str, exponent: str) -> tuple[Form, Fraction]:
    if not exponent and suffix in _BINARY:
        return "binary", Fraction(1024 ** _BINARY[suffix])
    if not exponent and suffix in _DECIMAL:
        return "decimal", Fraction(10) ** _DECIMAL[suffix]
    if suffix in ("e", "E") and exponent.lstrip("+-"):
        # Beyond the largest amount and below the smallest, further zeros change nothing.
        power = int(exponent[:10])
        return "exponent", Fraction(10) ** max(-_LARGEST_EXPONENT, min(_LARGEST_EXPONENT, power))
    raise ValueError(_WRONG_SUFFIX)


def _rounded(amount: Fraction) -> int:
    return -(-amount.numerator // amount.denominator)


def _without(number: int, base: int) -> tuple[int, int]:
    """The number without its factors of ``base``, and how many these were."""
    power = 0
    while number % base == 0:
        number, power = number // base, power + 1
    return number, power
