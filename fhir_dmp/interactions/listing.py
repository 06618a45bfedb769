"""Operations Patient/[id]/$access-list and $explain-access: who has access and why, for the holder and those who manage it for him.

Code de la santé publique L1111-19
"""

from collections.abc import Iterable
from dataclasses import replace

from fhir_dmp.consent import access_list, explain
from fhir_dmp.consent.asking import READ, SEARCH, Request, author_here
from fhir_dmp.consent.decide import Decision, residual
from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.consent.predicate import hashed
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.habilitation import profession
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.interactions import enforcement, facts, read, search_match
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.enforcement import Enforcer, Known, settle
from fhir_dmp.interactions.request_ledger import Ledger

LIST_URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-access-list"
EXPLAIN_URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-explain-access"
PARAMETERS = (Parameter("document"), Parameter("professional"))
# Of whom the directory says no profession; decided: the one with the most rights, so that nobody is told less than may be seen.
PHYSICIAN = "G15|10"
PROFESSIONS = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"


# ---- the list


async def listed(context: Context, url: Url, given: Given) -> Answer:
    """Parameters: one `professional` for each who has a right now, or is blocked."""
    for type_name in ("Patient", "Consent"):
        admit(context, type_name, "r")
    if context.enforcer is None:
        raise FhirError("not-supported", "who meets no rule has no list")
    met = await enforcement.of_patient(context, url.id)
    settle(met.decide("access-list"))
    found = access_list.access_list(_told(met, met.policy), met.now_ms)
    names = await known_as(context, (one.who for one in found))
    parts = [{"name": "professional", "part": _parts(one, names.get(one.who, ""))} for one in found]
    return Answer(200, json.dump({"resourceType": "Parameters", **({"parameter": parts} if parts else {})}))


def _parts(one: access_list.Listed, name: str) -> list[dict]:
    found: list[dict] = [{"name": "identifier", "valueIdentifier": identifier(one.who)}]
    if name:
        found.append({"name": "name", "valueString": name})
    if one.reason:
        found.append({"name": "reason", "valueCode": one.reason})
    if one.until_ms is not None:
        found.append({"name": "until", "valueInstant": to_instant(one.until_ms)})
    return [*found, {"name": "blocked", "valueBoolean": one.blocked}]


def identifier(who: str) -> dict[str, str]:
    """How a name of the rules is written in FHIR.

    >>> identifier("ps:810001234567")
    {'system': 'urn:oid:1.2.250.1.71.4.2.1', 'value': '810001234567'}
    """
    kind, _, value = who.partition(":")
    return {"system": identity.IDNPS if kind == "ps" else identity.IDNST, "value": value}


async def known_as(context: Context, names: Iterable[str]) -> dict[str, str]:
    """What the directory calls people and structures."""
    found = {}
    for who in names:
        type_name = "Practitioner" if who.startswith("ps:") else "Organization"
        for value in await directory(context, type_name, who):
            said = value.get("name") or ""
            if type_name == "Practitioner":
                first = (value.get("name") or [{}])[0]
                said = first.get("text") or " ".join([*(first.get("prefix") or ()), *(first.get("given") or ()), first.get("family") or ""])
            if said.strip():
                found[who] = said.strip()
    return found


async def directory(context: Context, type_name: str, who: str) -> list[dict]:
    """Resources of the directory with this identifier, in either spelling. who: "ps:IDNPS" or "org:IDNST"."""
    kind, _, value = who.partition(":")
    tokens = [f"{identifier(who)['system']}|{value}"]
    if kind == "ps" and value.startswith("8"):
        tokens.append(f"{identity.RPPS}|{value[1:]}")
    if kind == "org" and value.startswith("1"):
        tokens.append(f"{identity.FINESS}|{value[1:]}")
    plain = replace(context, enforcer=None)
    escaped = ",".join(token.replace("\\", "\\\\").replace(",", "\\,").replace("$", "\\$") for token in tokens)
    found = []
    for id, _ in await search_match.run(plain, type_name, (("identifier", escaped),), 5):
        row = await context.reads.load(context.store.vault.locate(type_name, id))
        if row is not None and row.body is not None and not row.deleted:
            found.append(json.parse(row.body))
    return found


# ---- why


async def explained(context: Context, url: Url, given: Given) -> Answer:
    """Parameters `effect`, `rule`, `text`. 404 for a document the asker does not see: nothing is told of it."""
    for type_name in ("Patient", "Consent"):
        admit(context, type_name, "r")
    if context.enforcer is None:
        raise FhirError("not-supported", "who meets no rule has nothing explained")
    met = await enforcement.of_patient(context, url.id)
    who = _asked_about(given) or (met.request.person if met.request.kind == "professional" else "")
    settle(met.decide("explain", about=frozenset({who} - {""})))
    target = met.request if who in ("", met.request.person) else await request_of(context, who)
    document = given.one("document") or ""
    if document:  # from here on as if it were read: told of in the dossier, and to those alone, who may read it
        admit(context, enforcement.DOCUMENTS, "r")
        context.enforcer.ledger = Ledger(alone=True)
    decision = await decision_on(context, met, target, document)
    said = [
        {"name": "effect", "valueCode": decision.effect},
        {"name": "rule", "valueCode": decision.rule},
        {"name": "text", "valueString": explain.text(decision, context.language)},
    ]
    return Answer(200, json.dump({"resourceType": "Parameters", "parameter": said}))


def _asked_about(given: Given) -> str:
    text = given.one("professional") or ""
    if not text:
        return ""
    system, bar, value = text.replace("\\,", ",").replace("\\$", "$").rpartition("|")
    name = identity.professional(system if bar else None, value)
    if not name:
        raise FhirError("business-rule", "`professional` is no identifier of a professional: RPPS or IDNPS", "Parameters.parameter")
    return identity.ps(name)


async def request_of(context: Context, who: str) -> Request:
    """How a professional of the directory would ask, from no structure and for care."""
    professions = {
        profession(coding["code"])
        for value in await directory(context, "Practitioner", who)
        for qualification in value.get("qualification") or ()
        for coding in (qualification.get("code") or {}).get("coding") or ()
        if coding.get("system") == PROFESSIONS and coding.get("code")
    }
    return Request(kind="professional", person=who, professions=frozenset(professions - {""}) or frozenset({PHYSICIAN}))


async def decision_on(context: Context, met: Known, target: Request, document: str) -> Decision:
    """What the rules say when `target` asks. document: reference, "" for the dossier as a whole. 404 when `met` does not see it."""
    other = await enforcement.known(replace(context, enforcer=Enforcer(target, met.law)), met.number)
    other.policy, other.request = _told(met, other.policy), replace(target)
    if other.stance.unrelated and target.person and await seen_of(context, met, target.person):
        other.request = author_here(other.request)
    if not document:
        left = residual(other.request.doing(SEARCH), other.policy, other.now_ms, other.law)
        return left if isinstance(left, Decision) else other.decide("see-patient")
    said = parse_reference(document if "/" in document else f"DocumentReference/{document}", (context.base_url,))
    if said.kind != "local" or said.type != "DocumentReference":
        raise read.absent()
    key = context.store.vault.locate(said.type, said.id)
    row = await read.current(context, said.type, said.id) if facts.perhaps_in(context, key, met.number) else None
    row = row if row is not None and row.dossier == met.number else None
    row, _ = await enforcement.readable(context, said.type, said.id, row)
    if row is None or row.deleted:
        raise read.absent()
    (own,) = facts.opened(context, row)
    return other.decide(READ, own)


def _told(met: Known, policy: Dossier) -> Dossier:
    """The policy as far as the asker is told of it."""
    return policy.without_secrets() if met.standing.kept_from else policy


async def seen_of(context: Context, met: Known, person: str) -> bool:
    """Whether the asker sees anything of what a professional deposited: what is hidden gives nobody a reason to be told of."""
    authored = {"y.au": hashed("author", person, context.store.vault.hash64)}
    where = {"$and": [authored, met.filter(enforcement.DOCUMENTS)]}
    return bool(await context.reads.count(where, types=(enforcement.DOCUMENTS,), dossiers=(met.number,), limit=1))
