"""What the host vouches for, as somebody is told it to whom that came late: recorded and sealed at the instant at which it came to him.

https://hl7.org/fhir/R4/provenance.html ; access-rules: what becomes visible to a class is seen by it as a late deposit

A seal names the instant at which it was made, and its digests are of bodies that name it too. Whoever was kept from what it seals would
see by it that this was there before. To him the host says the same of the instant at which it came to him: these versions, dated as he is
shown them, were here then. Nor does a digest tell of a reference that is taken out of what he is shown: his seal is over what is left, and
names no version that he does not see.
Such a seal is signed by the key and in the name of now. So that it tells of nothing by that, the seals of former keys, and of the hosts
that a dossier comes from, are signed so for everybody who obeys the rules.
What is stored stays as it is, and what is sealed wrongly is not sealed again.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.interactions.appearing import dated
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.origins import Homes, translated
from fhir_dmp.interactions.seal_reading import foreign, own_names, seal_in
from fhir_dmp.signing import seal
from fhir_dmp.signing.keys import Keys
from fhir_dmp.signing.seal import Opened, Sealed, Version
from fhir_dmp.signing.verdict import PASSED, Verdict, passed
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import version_id, version_of

if TYPE_CHECKING:
    from fhir_dmp.interactions.enforcement import Known

PROVENANCE = "Provenance"
# A version, "Type/id/_history/version", and its body -> the same without the references to what somebody does not see; None: all of it.
Seen = Callable[[str, bytes], bytes | None]


async def vouched(context: Context, bodies: Sequence[bytes]) -> list[Row]:
    """The versions that Provenances are about, those that are named by their address here."""
    targets = (one.get("reference") for body in bodies for one in json.parse(body).get("target") or ())
    return list((await _versions(context, [text for text in targets if text])).values())


class Judging(NamedTuple):
    """By what stored seals are judged. keys: their own. homes: versions as those who sealed them had them."""

    keys: Sequence[Keys]
    homes: Homes


async def judging(context: Context) -> Judging:
    """For the seals of one answer."""
    own = [context.seals] if context.seals is not None else []
    return Judging([*own, *await foreign()], Homes(context.reads, own_names(context)))


def outdated(context: Context, row: Row) -> bool:
    """Whether it is a Provenance with a seal of another key than that of now, or of another host."""
    if row.type != PROVENANCE or row.body is None or context.seals is None or context.recorder is None:
        return False
    signed = json.members(row.body).get("signature")
    listed = json.parse_exact(bytes(signed), object_only=False) if signed is not None else ()
    return any(text and not _of_now(context, text) for text in map(seal_in, listed))


def _of_now(context: Context, text: str) -> bool:
    """Whether the key of now made a seal, in the name of now; a key that was rotated meanwhile is taken."""
    kid, host = seal.maker(text)
    context.seals.refresh(context.now_ms(), kid)
    return (kid, host) == (context.seals.signer.kid, context.recorder.indexer.server.identity)


async def told(context: Context, met: "Known", row: Row, body: bytes, at_ms: int | None, seen: Seen | None, judged: Judging) -> bytes:
    """A Provenance that came to the asker at this instant, UTC ms; None: as late as it was made. body: as he would be shown it, its meta
    as stored. seen: what he sees of a version; None: all of each.

    One that somebody deposited says what he said; one that the host made says nothing of before, and is over what he sees.
    """
    value = json.parse_exact(body)
    if value.get("recorded") != value["meta"]["lastUpdated"]:
        return body
    instant = value["recorded"] if at_ms is None else to_instant(at_ms)
    changed = {"recorded": json.dump(instant)} if at_ms is not None else {}
    if "signature" in value:
        made = [await _signature(context, met, row, one, at_ms, seen, judged) for one in value["signature"]]
        kept = [{**one, "when": instant} for one in made if one is not None]
        if kept != value["signature"]:
            changed["signature"] = json.dump(kept) if kept else None
    return json.set_members(body, changed) if changed else body


async def _signature(
    context: Context, met: "Known", row: Row, one: Mapping[str, Any], at_ms: int | None, seen: Seen | None, judged: Judging
) -> Mapping[str, Any] | None:
    """One signature; what a sender signed is his. None for a seal that cannot be made again."""
    text = seal_in(one)
    if not text:
        return one
    made = await _sealed(context, met, row, text, at_ms, seen, judged)
    return {**one, "data": base64.b64encode(made.encode()).decode()} if made else None


async def _sealed(context: Context, met: "Known", row: Row, text: str, at_ms: int | None, seen: Seen | None, judged: Judging) -> str:
    """The statement of a seal that holds, of this instant and over what the asker sees; "" for one that does not, or is over nothing."""
    if context.seals is None or context.recorder is None:
        return ""
    of_now = _of_now(context, text)
    opened = seal.opened(text, judged.keys)
    said = opened.statement
    if said is None:
        return ""
    homes, host = judged.homes, context.recorder.indexer.server.identity
    home = await homes.at(said.host, row.dossier)
    if seen is None and at_ms is None and home is None:
        return text if of_now else seal.sign(context.seals, host, said.at, said.patient, said.what, said.message)

    def here(reference: str) -> str:
        return translated(reference.encode(), home.ids).decode() if home is not None else reference

    named = [here(one.reference) for one in said.what]
    rows = await _versions(context, named)
    what, narrowed = [], False
    for one, reference in zip(said.what, named, strict=True):
        found = rows.get(reference)
        if found is None or found.body is None:
            return ""
        # Whether its content is what was sealed is for $verify to say: the digest of it stays.
        version = await homes.version(said.host, row.dossier, Version(reference, found.body, one.octets))
        if seal.compared(opened, version).status != PASSED:
            return ""
        came = met.appeared(found.but(visible=row.visible))
        left = seen(reference, found.body) if seen is not None else found.body
        narrowed = narrowed or left is not found.body
        if left is None:
            continue
        shown = left if came == found.updated_ms else dated(left, came)
        what.append(Sealed(reference, seal.digest(shown), one.octets, one.identifier))
    if not what:
        return ""
    if at_ms is not None:
        patient = f"Patient/{met.patient}" if said.patient else ""
        return seal.sign(context.seals, host, to_instant(at_ms), patient, what, said.message)
    # Whether something is taken out shall not tell by who signed.
    if not narrowed and of_now:
        return text
    return seal.sign(context.seals, host, said.at, here(said.patient), what, said.message)


async def _versions(context: Context, references: Sequence[str]) -> dict[str, Row]:
    """Stored versions by "Type/id/_history/version"; what is not there is left out."""
    places = {}
    for reference in references:
        parts = reference.split("/")
        version = version_of(parts[3]) if len(parts) == 4 else None
        if version is not None:
            places[context.store.vault.locate(parts[0], parts[1]), version] = reference
    rows = await context.reads.load_versions(list(places))
    return {places[row.key, row.version]: row for row in rows if version_id(row.version) == places[row.key, row.version].rpartition("/")[2]}


def verdict(context: Context, found: tuple[Verdict, Opened | None], at_ms: int | None) -> tuple[Verdict, Opened | None]:
    """What `$verify` says of a seal to somebody who obeys the rules: as he is shown it, by the key of now. at_ms: the instant, UTC ms, at
    which what it seals came late to him; None: it did not.
    """
    said, opened = found
    if opened is None or opened.statement is None:
        return found
    kid, algorithm = (context.seals.signer.kid, context.seals.signer.algorithm) if context.seals is not None else (opened.kid, "")
    instant = opened.statement.at if at_ms is None else to_instant(at_ms)
    told = passed(seal.words(instant, kid, algorithm))
    statement = msgspec.structs.replace(opened.statement, at=instant)
    return told if said.status == PASSED else said, Opened(statement, told if opened.verdict.status == PASSED else opened.verdict, kid)
