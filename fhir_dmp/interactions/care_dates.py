"""When the care took place that a resource tells of: the search parameters that say so, and a range over them.

https://hl7.org/fhir/R4/patient-operation-everything.html
"""

from fhir_dmp.fhir.instants import interval
from fhir_dmp.search.parameters import parameters
from fhir_dmp.search.predicate import EVERYTHING, NOTHING, All, AnyOf, DateIs, Has, Not, Predicate, Present
from fhir_dmp.search.values import BEGINNING_MS, END_MS

# In order of preference: the first that a resource has decides.
CODES = ("period", "onset-date", "occurrence", "event-date", "date", "effective", "effective-time", "whenhandedover", "whenprepared")
CODES += ("collected", "started", "sent", "received", "when", "recorded", "authored", "authored-on", "authoredon", "start-date", "datetime")
CODES += ("created", "recorded-date", "entered-date", "identified", "datewritten")


def codes_of(type_name: str) -> tuple[str, ...]:
    """Parameters that date the care a resource of this type tells of, the best first.

    >>> codes_of("DocumentReference"), codes_of("Patient")
    (('period', 'date'), ())
    """
    known = parameters(type_name)
    return tuple(code for code in CODES if code in known and known[code].type == "date")


def within(type_name: str, start: str | None, end: str | None, *, undated: bool) -> Predicate:
    """Resources whose care overlaps [start, end], either end open. undated: those that do not say when are among them."""
    if start is None and end is None:
        return EVERYTHING
    lo = BEGINNING_MS if start is None else interval(start)[0]
    hi = END_MS if end is None else interval(end)[1]
    overlaps = DateIs("ap", lo, hi)
    parts: list[Predicate] = []
    before: list[Predicate] = []
    for code in codes_of(type_name):
        parts.append(All((*before, Has(code, overlaps))))
        before.append(Not(Present(code)))
    return AnyOf((*parts, All(tuple(before)) if undated else NOTHING))
