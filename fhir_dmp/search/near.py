"""Location.near: within a distance of a point on the earth.

https://hl7.org/fhir/R4/location.html#search
"""

import re
from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt

from fhir_dmp.errors import FhirError
from fhir_dmp.search.values import Position, Value

EARTH_METRES = 6_371_008.8  # mean radius
# R4 leaves distance and unit to the server when they are absent.
DEFAULT_METRES = 10_000.0
UNITS = {"m": 1.0, "km": 1000.0, "[mi_i]": 1609.344, "[mi_us]": 1609.3472, "mi": 1609.344, "[ft_i]": 0.3048}

_NUMBER = re.compile(r"[+-]?[0-9]{1,10}(\.[0-9]{1,20})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Near:
    """Positions at most `metres` away from a point, in degrees WGS 84."""

    latitude: float
    longitude: float
    metres: float

    def holds(self, value: Value) -> bool:
        """Whether a position is near enough, along the great circle."""
        return isinstance(value, Position) and distance(self, float(value.latitude), float(value.longitude)) <= self.metres


def distance(point: Near, latitude: float, longitude: float) -> float:
    """Metres between a point and another one.

    >>> round(distance(Near(48.8566, 2.3522, 0), 45.7640, 4.8357) / 1000)
    391
    """
    south, north = radians(point.latitude), radians(latitude)
    across = radians(longitude - point.longitude)
    root = sin((north - south) / 2) ** 2 + cos(south) * cos(north) * sin(across / 2) ** 2
    return 2 * EARTH_METRES * asin(min(1.0, sqrt(root)))


def near_test(text: str) -> Near:
    """`latitude|longitude|distance|unit`; the last two may be left out.

    >>> near_test("48.85|2.35|5|km")
    Near(latitude=48.85, longitude=2.35, metres=5000.0)
    """
    parts = [*text.split("|"), "", ""][:4]
    numbers = [part for part in parts[:3] if part]
    if text.count("|") not in (1, 2, 3) or not all(_NUMBER.fullmatch(part) for part in numbers) or not (parts[0] and parts[1]):
        raise FhirError("invalid", f"`{text[:60]}` is not latitude|longitude|distance|unit")
    latitude, longitude, far, unit = float(parts[0]), float(parts[1]), parts[2], parts[3] or "km"
    if abs(latitude) > 90 or abs(longitude) > 180 or (far and float(far) < 0):
        raise FhirError("invalid", f"`{text[:60]}` is no place on the earth, or no distance")
    if unit not in UNITS:
        raise FhirError("invalid", f"`{unit[:20]}` is not a unit of length known here: {', '.join(UNITS)}")
    return Near(latitude, longitude, float(far) * UNITS[unit] if far else DEFAULT_METRES)
