"""Operation $feed: which dossiers the Assurance Maladie is asked to feed, and from when; it answers by $import, as often as it likes.

Code de la santé publique R1111-42 (data of reimbursement); seed 004: 24 rolling months at the opening, then monthly

Nothing is kept about what was asked: a dossier opened, or opened again, since `since` is asked for its whole history, any other for what is
new since then. What came before brings nothing new, so to ask twice does no harm.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from struct import Struct
from typing import NamedTuple

from fhir_dmp.consent.directives import category_of
from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.consent.law import LAW
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.dmp.paris import PARIS, midnight_ms, months_later_ms, span
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import enforcement, policy
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.store.rows import Row

URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-feed"
PARAMETERS = (Parameter("since", "dateTime"), Parameter("after", "string"), Parameter("count", "positiveInt"))
MOST = 500
_PLACE = Struct(">q16s")


class Wanted(NamedTuple):
    """One dossier to be fed. ins: of the holder. start_ms: of what is asked for, UTC."""

    patient: str
    ins: identity.Ins
    start_ms: int


class Page(NamedTuple):
    """after: where the next page begins, "" after the last one."""

    wanted: list[Wanted]
    after: str


async def run(context: Context, url: Url, given: Given) -> Answer:
    """Parameters, one `dossier` each, and `after` where there are more. For the feed and administrators of this host."""
    admit(context, "Patient", "s")
    request = context.enforcer.request if context.enforcer is not None else None
    if request is not None and request.kind != "feed" and not (request.kind == "operator" and request.role == "admin"):
        raise enforcement.refused()
    since_ms = span(given.one("since"))[0] if given.one("since") else last_month_ms(context.now_ms())
    found = await page(context, since_ms, given.one("after") or "", min(given.number("count", MOST), MOST))
    told = []
    for one in found.wanted:
        if context.enforcer is not None:
            context.enforcer.ledger.disclosed.setdefault(one.patient, {})
        told.append({"name": "dossier", "part": parts(one, context.now_ms())})
    if found.after:
        told.append({"name": "after", "valueString": found.after})
    return Answer(200, json.dump({"resourceType": "Parameters", **({"parameter": told} if told else {})}))


def parts(one: Wanted, now_ms: int) -> list[dict]:
    """As parts of a parameter."""
    return [
        {"name": "identifier", "valueIdentifier": {"system": one.ins.system, "value": one.ins.value}},
        {"name": "start", "valueInstant": to_instant(one.start_ms)},
        {"name": "end", "valueInstant": to_instant(now_ms)},
    ]


def last_month_ms(now_ms: int) -> int:
    """The first day of the month before.

    >>> from fhir_dmp.fhir.instants import from_instant
    >>> to_instant(last_month_ms(from_instant("2026-01-15T12:00:00Z")))
    '2025-11-30T23:00:00.000Z'
    """
    return months_later_ms(midnight_ms(_today(now_ms).replace(day=1)), -1)


def _today(now_ms: int) -> date:
    return datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(PARIS).date()


async def page(context: Context, since_ms: int, after: str, count: int) -> Page:
    """Open dossiers of people with an INS, in an order of their own. after: of the page before."""
    place = _opened(context, after)
    rows = await context.store.find(types=("Patient",), hint="type", after=place, limit=count)
    policies = await policy.of_dossiers(context, {row.dossier for row in rows})
    open_now = [row for row in rows if row.body is not None and _is_open(policies.get(row.dossier), context.now_ms())]
    opened_ms = await _openings(context, open_now)
    law = context.enforcer.law if context.enforcer is not None else LAW
    history_ms = months_later_ms(midnight_ms(_today(context.now_ms())), -law.reimbursement_months)
    wanted = []
    for row in open_now:
        for ins in identity.ins_of(json.parse(row.body))[:1]:
            new = opened_ms.get(row.dossier, since_ms) >= since_ms
            wanted.append(Wanted(policies[row.dossier].patient, ins, history_ms if new else max(since_ms, history_ms)))
    if len(rows) < count:
        return Page(wanted, "")
    return Page(wanted, context.store.vault.seal_token(_PLACE.pack(*rows[-1].place), "feed"))


def _opened(context: Context, after: str) -> tuple[int, bytes] | None:
    if not after:
        return None
    value = context.store.vault.open_token(after, "feed")
    if value is None:
        raise FhirError("invalid", "`after` was not given by this host", "Parameters.parameter")
    updated_ms, key = _PLACE.unpack(value)
    return updated_ms, key


def _is_open(found: Dossier | None, now_ms: int) -> bool:
    return found is not None and found.status is Status.OPEN and (found.deceased_ms is None or found.deceased_ms > now_ms)


async def _openings(context: Context, rows: Sequence[Row]) -> dict[int, int]:
    """When each dossier was opened last, and its opening Consent came into force, which says the instant of the first opening: what was
    reimbursed while it was closed was asked for by nobody.
    """
    found: dict[int, int] = {}
    dossiers = [row.dossier for row in rows]
    if dossiers:
        async for row in context.store.scan(types=("Consent",), dossiers=dossiers):
            if category_of(json.parse(row.body or b"{}")) == "opening":
                found[row.dossier] = row.updated_ms
    return found
