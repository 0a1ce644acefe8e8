"""Resource quantities (``500m``, ``1.5Gi``): reading, canonical form, value.

Source: k8s.io/apimachinery pkg/api/resource/quantity.go (v0.33).
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

_QUANTITY = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)([numkMGTPE]?|[KMGTPE]i|[eE][+-]?\d+)\Z")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {-3: "n", -2: "u", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P", 6: "E"}
_EXPONENTS = {suffix: exponent for exponent, suffix in _DECIMAL.items()}

PROBLEM = r"quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


@lru_cache(maxsize=512)
def _parsed(text: str) -> tuple[Fraction, str]:
    match = _QUANTITY.match(text.strip())
    if not match:
        raise ValueError(PROBLEM)
    sign, digits, suffix = match.groups()
    number = Fraction(digits if digits[-1] != "." else digits[:-1])
    if suffix in _BINARY[1:]:
        number *= 1024 ** _BINARY.index(suffix)
        style = "binary"
    elif suffix and suffix[0] in "eE" and len(suffix) > 1:
        number *= Fraction(10) ** int(suffix[1:])
        style = "exponent"
    else:
        number *= Fraction(1000) ** _EXPONENTS[suffix]
        style = "decimal"
    nano = number * 10**9
    if nano.denominator != 1:  # upstream rounds up what is below 1n
        number = Fraction(-(-nano.numerator // nano.denominator), 10**9)
    return (-number if sign == "-" else number), style


def value(quantity: str | float) -> Fraction:
    """The exact value; raises ValueError with upstream's text."""
    return _parsed(str(quantity))[0]


@lru_cache(maxsize=512)
def canonical(text: str) -> str:
    """The form the server stores: no fraction, the largest suffix that leaves an integer; raises ValueError."""
    number, style = _parsed(text)
    if style == "binary" and (number.denominator != 1 or abs(number) < 1024):
        style = "decimal"  # upstream shows no precision lost and no suffix below 1Ki
    if style == "binary":
        return _binary(number)
    if number == 0:
        return "0"
    exponent = _largest_exponent(number)
    mantissa = number / Fraction(1000) ** exponent
    if style == "exponent" and exponent > 0:
        return f"{mantissa}e{exponent * 3}"
    return f"{mantissa}{_DECIMAL[exponent]}"


def _largest_exponent(number: Fraction) -> int:
    for exponent in range(6, -4, -1):
        if (number / Fraction(1000) ** exponent).denominator == 1:
            return exponent
    return -3


def _binary(number: Fraction) -> str:
    count, power = int(number), 0
    while count and count % 1024 == 0 and power < len(_BINARY) - 1:
        count, power = count // 1024, power + 1
    return f"{count}{_BINARY[power]}"
