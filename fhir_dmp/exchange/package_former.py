"""What the hosts before the giving one left with a dossier: their tables of ids, and the proofs that traces stand in their journals.

ig/decisions: host to host; https://www.rfc-editor.org/rfc/rfc6962#section-2.1.1

Each proof is verified as if its host had given the package itself: with the journal on that host's card where it is known here. Of a host
that nobody here knows, all proofs must name one key, and `$proof` tells it: whoever knows the host compares it. A trace that stands in no
journal is one that the giving host says this of, and that whoever takes the dossier is told of.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fhir_dmp.exchange import hosts
from fhir_dmp.exchange import package as form
from fhir_dmp.exchange.hosts import Card
from fhir_dmp.exchange.package import Proof, RowLine, wrong
from fhir_dmp.interactions import origins
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.origins import Origins, translated
from fhir_dmp.store.records import Source


class Journals:
    """The journals of hosts, by their identity: (name, public key in DER)."""

    def __init__(self, known: Mapping[str, Mapping[str, str]]) -> None:
        self._known = {host: (journal["origin"], base64.b64decode(journal["key"])) for host, journal in known.items()}

    @classmethod
    async def open(cls, context: Context, card: Card) -> "Journals":
        """Those of this host, of all whose cards it has, and of the one that gives."""
        cards = [one.rules["card"] for one in await Source.objects.order_by("pk").to_list() if one.rules.get("card")]
        own = hosts.own(context.store, Path(context.settings.data))
        return cls({**{one["host"]: one["journal"] for one in cards}, card.host: card.journal, own.host: own.journal})

    def prove(self, host: str, proof: Mapping[str, Any], key: bytes, body: bytes) -> bool:
        """Whether a proof shows that an AuditEvent is in the journal of a host; see package.proves."""
        try:
            told = base64.b64decode(msgspec.convert(proof, Proof).publicKey, validate=True)
        except (msgspec.ValidationError, ValueError):
            return False
        origin, public = self._known.setdefault(host, (f"{host}/journal", told))
        return told == public and form.proves(proof, key, body, origin, public)


def tabled(rows: Sequence[RowLine]) -> dict[int, RowLine]:
    """Contents that may be what a host before left, by the number of their file: nobody judges by facts who sees them."""
    return {
        one.octets.file: one
        for one in rows
        if one.octets is not None and one.type == "Binary" and one.facts is None and one.octets.size <= origins.MOST
    }


def table(dossier: int, line: RowLine, data: bytes) -> Origins | None:
    """What a former host left, in ids of the giving host; None for any other content."""
    try:
        left = msgspec.json.decode(data, type=Origins)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return left if origins.key_of(dossier, left.host).hex() == line.key else None


def check(
    journals: Journals, giver: str, rows: list[RowLine], bodies: Mapping[str, bytes | None], given: list[dict], left: list[Origins]
) -> int:
    """How many traces stand in no journal, as the giving host says; 422 for the first one of which it says nothing, and for the first
    proof that does not show its trace in the journal of its host. given: of the package. left: see `table`.
    """
    every_trace = {f"{one.type}/{one.id}" for one in rows if one.type == "AuditEvent"}
    traces = {f"{one.type}/{one.id}": one for one in rows if one.type == "AuditEvent" and one.current and not one.deleted}
    # With no ids the octets stay what they are: those of the giving host are as it has them.
    every: list[tuple[str, Mapping[str, str], str, Mapping[str, Any]]] = []
    every += [(giver, {}, one["reference"], one["proof"]) for one in given if one["proof"]]
    for one in left:
        back = one.back
        every += [(one.host, back, reference, proof) for reference, proof in one.proofs.items()]
    for host, back, reference, proof in every:
        row = traces.get(reference)
        body = None if row is None else bodies[row.reference]
        host = proof.get("host") or host
        if body is None or not journals.prove(host, proof, bytes.fromhex(row.key), translated(body, back)):
            raise wrong(f"the proof of {reference} does not show it in the journal of {host}")
    unproved = every_trace - {reference for _, _, reference, _ in every}
    told = {one["reference"] for one in given if not one["proof"]}
    if untold := unproved - told:
        raise wrong(f"{min(untold)} has no proof that it stands in a journal")
    return len(unproved)


def here(left: Origins, ids: Mapping[str, str], own: str) -> Origins:
    """What a former host left, in the ids of this host. ids: of the giving host -> of this one. own: identity of this host.

    What this host left itself comes back to where everything is in its own journal.
    """
    if left.host == own:
        return Origins(own, {}, {})
    proofs = {translated(name.encode(), ids).decode(): proof for name, proof in left.proofs.items()}
    return Origins(left.host, {there: ids.get(one, one) for there, one in left.ids.items()}, proofs, left.former)
