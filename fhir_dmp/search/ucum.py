"""UCUM units brought to base units, exactly, so that 5.4 g and 5400 mg compare.

https://ucum.org/ucum and https://hl7.org/fhir/R4/search.html#quantity

Own table and not a library: the one that parses the whole grammar converts through floating point and asks its users to check its
definitions, while two evaluators of one search have to agree to the last digit. Moles, equivalents, osmoles and arbitrary units
([IU], [arb'U] ...) are dimensions of their own here: a search for mmol/L never answers meq/L. Units not listed have no
canonical form and are compared as written.
"""

import re
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from fhir_dmp.search.values import DIGITS

_WIDE = Context(prec=400, Emax=99_999, Emin=-99_999)

SYSTEM = "http://unitsofmeasure.org"


class Canonical(NamedTuple):
    """value in `unit` = value as written * factor + offset."""

    factor: Fraction
    offset: Fraction
    unit: str


_PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip

_BASE = ("m", "s", "g", "rad", "K", "C", "cd", "mol", "eq", "osm")

# Units that take prefixes, and those that do not: written in units above them or in base units.
_METRIC = {
    "L": "10*-3.m3", "l": "10*-3.m3", "t": "10*6.g", "Hz": "s-1", "N": "10*3.g.m.s-2", "Pa": "N.m-2", "bar": "10*5.Pa",
    "J": "N.m", "W": "J/s", "A": "C/s", "V": "J/C", "F": "C/V", "Ohm": "V/A", "S": "Ohm-1", "Wb": "V.s", "T": "Wb.m-2", "H": "Wb/A",
    "sr": "rad2", "lm": "cd.sr", "lx": "lm.m-2", "Bq": "s-1", "Gy": "J/(10*3.g)", "Sv": "J/(10*3.g)", "kat": "mol/s",
    "U": "10*-6.mol/min", "cal": "4184.10*-3.J", "m[Hg]": "133322.Pa", "m[H2O]": "980665.10*-2.Pa",
    "P": "10*-1.Pa.s", "St": "10*-4.m2/s", "dyn": "10*-5.N", "erg": "10*-7.J", "gf": "980665.10*-8.N", "ar": "100.m2",
    "Ci": "37.10*9.Bq", "R": "258.10*-9.C/g", "eV": "160217733.10*-27.J", "u": "16605402.10*-31.g", "Lmb": "cd/m2",
    "g%": "g/dl", "mho": "S", "cal_th": "4184.10*-3.J", "cal_IT": "41868.10*-4.J", "bit": "[bit]", "By": "8.[bit]", "st": "m3",
}  # fmt: skip
_PLAIN = {
    "10*": "10", "10^": "10", "%": "10*-2", "[ppth]": "10*-3", "[ppm]": "10*-6", "[ppb]": "10*-9", "[pptr]": "10*-12",
    "min": "60.s", "h": "3600.s", "d": "86400.s", "wk": "604800.s", "a": "31557600.s", "a_j": "31557600.s", "mo": "2629800.s",
    "mo_j": "2629800.s", "a_g": "31556952.s", "mo_g": "2629746.s", "atm": "101325.Pa",
    "[in_i]": "254.10*-4.m", "[ft_i]": "12.[in_i]", "[yd_i]": "3.[ft_i]", "[mi_i]": "5280.[ft_i]", "[nmi_i]": "1852.m",
    "[kn_i]": "[nmi_i]/h",
    "[sin_i]": "[in_i]2", "[sft_i]": "[ft_i]2", "[cin_i]": "[in_i]3", "[cft_i]": "[ft_i]3",
    "[lb_av]": "45359237.10*-5.g", "[oz_av]": "28349523125.10*-9.g", "[gr]": "6479891.10*-8.g", "[stone_av]": "14.[lb_av]",
    "[lb_tr]": "3732417216.10*-7.g", "[oz_tr]": "311034768.10*-7.g",
    "[gal_us]": "231.[cin_i]", "[qt_us]": "[gal_us]/4", "[pt_us]": "[gal_us]/8", "[cup_us]": "[gal_us]/16", "[foz_us]": "[gal_us]/128",
    "[tbs_us]": "[gal_us]/256", "[tsp_us]": "[gal_us]/768", "[gal_br]": "454609.10*-8.m3", "[pt_br]": "[gal_br]/8",
    "[foz_br]": "[gal_br]/160",
    "[drp]": "ml/20", "[lbf_av]": "[lb_av].980665.10*-5.m/s2", "[psi]": "[lbf_av]/[sin_i]", "[Cal]": "10*3.cal_th",
    "[mesh_i]": "[in_i]-1", "[diop]": "m-1", "[degR]": "5.K/9", "[in_i'Hg]": "[in_i].133322.Pa/m", "[in_i'H2O]": "[in_i].980665.10*-2.Pa/m",
    "[car_m]": "2.10*-1.g", "[g]": "980665.10*-5.m/s2", "[c]": "299792458.m/s",
}  # fmt: skip
# Arbitrary units: comparable with themselves only; those of the first line take prefixes.
_ARBITRARY_METRIC = {"[iU]": "[IU]", "[IU]": "[IU]", "[bit]": "[bit]", "Bd": "Bd", "B": "B"}
_ARBITRARY = (
    "[arb'U]", "[USP'U]", "[GPL'U]", "[MPL'U]", "[APL'U]", "[beth'U]", "[anti'Xa'U]", "[todd'U]", "[dye'U]", "[smgy'U]", "[bdsk'U]",
    "[ka'U]", "[knk'U]", "[mclg'U]", "[tb'U]", "[CCID_50]", "[TCID_50]", "[EID_50]", "[PFU]", "[FFU]", "[CFU]", "[IR]", "[BAU]", "[AU]",
    "[Amb'a'1'U]", "[PNU]", "[Lf]", "[D'ag'U]", "[FEU]", "[ELU]", "[EU]", "[pH]", "[S]", "[HPF]", "[LPF]", "[Ch]", "[hnsf'U]", "[MET]",
    "[hp_X]",
)  # fmt: skip
# Special units: (factor, offset) to kelvin.
_SPECIAL = {"Cel": (Fraction(1), Fraction(27315, 100)), "[degF]": (Fraction(5, 9), Fraction(45967, 180))}

_TOKEN = re.compile(r"\{[^{}]*\}|[().]|/|(?:10\*|10\^|[^\s{}().0-9/+*^-]*\[[^\]]*\][^\s{}().0-9/+*^-]*|[A-Za-z%_'\"]+)[+-]?[0-9]*|[0-9]+")
_COMPONENT = re.compile(r"(10\*|10\^|.*?)([+-]?[0-9]+)?")


@lru_cache(maxsize=4096)
def canonical(code: str) -> Canonical | None:
    """The unit in base units; None when this table does not know it.

    >>> canonical("mg/dL").unit, canonical("mg/dL").factor
    ('g.m-3', Fraction(10, 1))
    >>> canonical("mm[Hg]").unit, canonical("{breaths}/min").unit, canonical("furlong")
    ('g.m-1.s-2', 's-1', None)
    """
    if len(code) > 100:
        return None
    if code in _SPECIAL:
        return Canonical(*_SPECIAL[code], "K")
    try:
        factor, dimensions = _parse(code)
    except (ValueError, KeyError, IndexError, RecursionError, ZeroDivisionError):
        return None
    return Canonical(
        factor, Fraction(0), ".".join(name if power == 1 else f"{name}{power}" for name, power in sorted(dimensions.items())) or "1"
    )


def convert(value: Decimal, unit: Canonical) -> Decimal:
    """The value in the canonical unit, to 34 digits."""
    if not value.is_finite():
        return value
    if unit.factor == 1 and not unit.offset:
        return value
    scale, shift = unit.factor, unit.offset
    # One fraction, in more digits than any value and unit have together, rounded once.
    above = _WIDE.multiply(value, scale.numerator * shift.denominator)
    above = _WIDE.add(above, shift.numerator * scale.denominator)
    return DIGITS.plus(_WIDE.divide(above, Decimal(scale.denominator * shift.denominator)))


def _parse(code: str) -> tuple[Fraction, dict[str, int]]:
    tokens, position = [], 0
    while position < len(code):
        found = _TOKEN.match(code, position)
        if not found:
            raise ValueError(code)
        tokens.append(found[0])
        position = found.end()
    if not tokens:
        raise ValueError(code)
    result, rest = _term(tokens, 0)
    if rest != len(tokens):
        raise ValueError(code)
    return result


def _term(tokens: list[str], at: int) -> tuple[tuple[Fraction, dict[str, int]], int]:
    factor, dimensions = Fraction(1), {}
    sign, expecting = 1, True
    if tokens[at] == "/":
        sign, at = -1, at + 1
    while at < len(tokens) and tokens[at] != ")":
        token = tokens[at]
        if token in "./":
            if expecting:
                raise ValueError(token)
            sign, expecting, at = (1 if token == "." else -1), True, at + 1
            continue
        if token.startswith("{"):
            at, expecting = at + 1, False
            continue
        if not expecting:
            raise ValueError(token)
        if token == "(":
            part, at = _term(tokens, at + 1)
            if at >= len(tokens):
                raise ValueError(token)
        else:
            part = _component(token)
        at, expecting = at + 1, False
        factor *= part[0] ** sign
        for name, power in part[1].items():
            dimensions[name] = dimensions.get(name, 0) + sign * power
    if expecting:
        raise ValueError("unit ends early")
    return (factor, {name: power for name, power in dimensions.items() if power}), at


def _component(token: str) -> tuple[Fraction, dict[str, int]]:
    if token.isdigit():
        if len(token) > 30:
            raise ValueError(token)
        return Fraction(int(token)), {}
    name, power = _COMPONENT.fullmatch(token).groups()
    exponent = int(power or 1)
    if abs(exponent) > 60:
        raise ValueError(token)
    factor, dimensions = _atom(name)
    return factor**exponent, {unit: n * exponent for unit, n in dimensions.items()}


def _atom(name: str) -> tuple[Fraction, dict[str, int]]:
    if (found := _bare(name)) is not None:
        return found
    for length in (2, 1):
        power = _PREFIXES.get(name[:length])
        rest = name[length:]
        if power is not None and (rest in _METRIC or rest in _BASE or rest in _ARBITRARY_METRIC):
            factor, dimensions = _bare(rest)
            return factor * Fraction(10) ** power, dimensions
    raise KeyError(name)


def _bare(name: str) -> tuple[Fraction, dict[str, int]] | None:
    if name in _BASE:
        return Fraction(1), {name: 1}
    if name in _ARBITRARY_METRIC:
        return Fraction(1), {_ARBITRARY_METRIC[name]: 1}
    if name in _ARBITRARY:
        return Fraction(1), {name: 1}
    if name in ("10*", "10^"):
        return Fraction(10), {}
    definition = _METRIC.get(name) or _PLAIN.get(name)
    return _parse(definition) if definition else None
