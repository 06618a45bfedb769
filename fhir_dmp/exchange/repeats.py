"""What a unit of an import was answered when it was stored, and is answered when it comes again."""

from collections.abc import Iterator, Mapping

from fhir_dmp.exchange.results import Result
from fhir_dmp.exchange.units import REQUEST, TRANSACTION, Unit
from fhir_dmp.fhir import bundle
from fhir_dmp.store.ledger import Line, Part, Stored


def parts_of(unit: Unit, stored: Stored, whole: Part, plain: bool) -> Iterator[tuple[str, bundle.Entry | None, Part | None]]:
    """Place, entry and row of each result of a unit that was stored before; no row for an entry that wrote none."""
    if unit.work not in (TRANSACTION, REQUEST):
        yield unit.place, None, stored.parts[0] if stored.parts else whole
        return
    left: dict[tuple[str, str], list[Part]] = {}
    for part in stored.parts:
        left.setdefault((part.method, part.type), []).append(part)
    for entry in unit.plan.entries if unit.work == TRANSACTION else (unit.entry,):
        place = f"{unit.place} entry[{entry.index}]" if unit.work == TRANSACTION else unit.place
        mine = left.get((entry.method, entry.target.type))
        yield place, entry, mine.pop(0) if mine else None


def in_order(unit: Unit, answers: Mapping[str, tuple[Result, Part | None]]) -> tuple[Result, ...]:
    """Results of a transaction, one for each entry; what marks a document as superseded was done by what replaces it."""
    places = [f"{unit.place} entry[{entry.index}]" for entry in unit.plan.entries]
    return tuple(answers[place][0] if place in answers else Result(place, 200) for place in places)


def version_of(line: Line, unit: Unit) -> Stored | None:
    """The version of a line that a unit is: by what the source calls it, else by its content."""
    return line.version(unit.version) or next((one for one in line.versions if one.digest == unit.digest), None)
