"""Traces as values, and the AuditEvent each becomes, spliced from bytes.

https://hl7.org/fhir/R4/auditevent.html
IHE BALP https://profiles.ihe.net/ITI/BALP/ ; one event per patient, the query and each disclosed resource with its version.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from fhir_dmp.audit.kinds import BALP, KINDS, Coding
from fhir_dmp.audit.pieces import coding, concept, text, uri_member, word
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.identity import IDNPS, IDNST
from fhir_dmp.fhir.instants import to_instant

if TYPE_CHECKING:
    from fhir_dmp.identity.actor import Actor

PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
ROLE_CLASS = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ENTITY_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
BALP_ENTITY = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
SPECIALTY = "https://mos.esante.gouv.fr/NOS/TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"
ACTOR_KINDS = "https://fhir-dmp.example.org/fhir/CodeSystem/dmp-actor-kind"
LOCAL_PATIENT = "https://fhir-dmp.example.org/fhir/sid/patient"
JTI = "urn:ietf:params:oauth:jti:"
# Under which request for help the staff of a host acts.
TICKET = "urn:fhir-dmp:ticket:"
SUCCESS, MINOR, SERIOUS, MAJOR = "0", "4", "8", "12"


class Disclosed(NamedTuple):
    """A version of a resource that leaves, or that was written. version: versionId, "" where there is none to name."""

    type: str
    id: str
    version: str = ""

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}/_history/{self.version}" if self.version else f"{self.type}/{self.id}"


class Server(NamedTuple):
    """This host as it names itself in traces. address: where clients reach it, e.g. its base URL."""

    identity: str
    name: str = "fhir-dmp"
    address: str = "localhost"


class Trace(NamedTuple):
    """One thing that happened, about at most one patient.

    kind: key of KINDS. at_ms: UTC. outcome: 0 success, 4 minor, 8 serious, 12 major failure. reason: outcomeDesc, in plain words.
    actor: None when nobody was recognised. purposes: (system, code), instead of those of the actor, e.g. of an open break-glass.
    patient: logical id, "" for none. disclosed: what left or was written. consents: ids of the Consents it was decided by.
    query: the request as sent, e.g. "DocumentReference?patient=x". request_id: X-Request-Id. client_address: IP or host name.
    labels: (before, after) of an act of masking, visibility codes. visible: facts by which reading it is judged, as a row keeps
    them; several, where it is seen as soon as one of those is.
    """

    kind: str
    at_ms: int
    outcome: str = SUCCESS
    reason: str = ""
    actor: "Actor | None" = None
    purposes: tuple[tuple[str, str], ...] | None = None
    patient: str = ""
    disclosed: tuple[Disclosed, ...] = ()
    consents: tuple[str, ...] = ()
    query: str = ""
    request_id: str = ""
    client_address: str = ""
    labels: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    visible: "Mapping[str, object] | list[Mapping[str, object]] | None" = None

    @property
    def failed(self) -> bool:
        return self.outcome != SUCCESS


def encode(trace: Trace, *, id: str, version_id: str, server: Server) -> bytes:
    """The AuditEvent of a trace as JSON bytes, final."""
    return event(trace, agents_of(trace, server), source(server), id, version_id)


def event(trace: Trace, agents: bytes, observer: bytes, id: str, version_id: str) -> bytes:
    """The same, of prepared agents and observer: they stay the same for as long as a token and an address do."""
    instant = to_instant(trace.at_ms).encode()
    profile, codes = head(trace.kind, trace.outcome, bool(trace.patient), len(trace.disclosed))
    described = b'","outcomeDesc":' + text(trace.reason, 4000) if trace.failed and trace.reason else b'"'
    return b"".join(
        (
            b'{"resourceType":"AuditEvent","id":"%b","meta":{"versionId":"%b","lastUpdated":"%b"%b},%b,"recorded":"%b","outcome":"%b%b,'
            % (id.encode(), version_id.encode(), instant, profile, codes, instant, trace.outcome.encode(), described),
            agents,
            b",",
            observer,
            *entities(trace),
            b"}",
        )
    )


@lru_cache(2048)
def head(kind: str, outcome: str, patient: bool, disclosed: int) -> tuple[bytes, bytes]:
    """(profile member of meta, type to action). A profile is claimed only where the event follows it."""
    codes = KINDS[kind]
    fits = codes.profile and outcome == SUCCESS and codes.data in (None, disclosed)
    profile = b',"profile":["%b%b%b"]' % (BALP.encode(), b"Patient" if patient else b"", codes.profile.encode()) if fits else b""
    subtypes = b",".join(coding(*one) for one in codes.subtypes)
    return profile, b'"type":%b,"subtype":[%b],"action":"%b"' % (coding(*codes.type), subtypes, codes.action.encode())


# Agents


def agents_of(trace: Trace, server: Server) -> bytes:
    """The `agent` member of a trace."""
    codes = KINDS[trace.kind]
    own = trace.actor is not None and trace.actor.patient == trace.patient
    return agents(trace.actor, trace.purposes, own, codes.client, codes.server, trace.client_address, server)


def agents(
    actor: "Actor | None",
    purposes: tuple[tuple[str, str], ...] | None,
    own: bool,
    client: Coding,
    host: Coding,
    address: str,
    server: Server,
) -> bytes:
    """Client, server, user, organisation, professional beside a minor. own: the actor is the patient of the trace."""
    software = (actor.software or actor.client_id) if actor else ""
    # Software and host by name, in altId by identifier: references are looked for across dossiers, so each has a price in every trace.
    known = b',"altId":' + text(actor.client_id) if actor and actor.client_id else b""
    listed = [
        b'{"type":%b,"who":{"display":%b}%b,"requestor":%b,"network":{"address":%b,"type":"%b"}}'
        % (
            concept(*client),
            text(software or "unknown"),
            known,
            b"false" if actor else b"true",
            text(address or "unknown"),
            b"2" if address[:1].isdigit() or ":" in address else b"1",
        ),
        b'{"type":%b,"who":{"display":%b},"requestor":false,"network":{"address":%b,"type":"5"}}'
        % (concept(*host), text(server.name), text(server.address)),
    ]
    if actor:
        listed.append(user(actor, actor.purposes if purposes is None else purposes, own))
        if actor.organization:
            listed.append(
                b'{"type":%b,"who":{"type":"Organization","identifier":{"system":"%b","value":%b}},"requestor":false}'
                % (concept(ROLE_CLASS, "PROV", "healthcare provider"), IDNST.encode(), text(structure(actor.organization)))
            )
        if actor.with_professional:
            listed.append(
                b'{"type":%b,"who":{"type":"Practitioner","identifier":{"system":"%b","value":%b}},"requestor":false}'
                % (concept(PARTICIPATION, "ESC", "escort"), IDNPS.encode(), text(professional(actor.with_professional)))
            )
    return b'"agent":[%b]' % b",".join(listed)


def user(actor: "Actor", purposes: tuple[tuple[str, str], ...], own: bool) -> bytes:
    """The agent who asks: who, in what role, for what purpose, by which token."""
    roles = [concept(ACTOR_KINDS, actor.kind, "")]
    for role in actor.roles:
        code, _, oid = role.partition("^")
        roles.append(concept(f"urn:oid:{oid}" if oid else "", code, ""))
    roles += [concept(SPECIALTY, one, "") for one in actor.specialties]
    parts = [
        b'{"type":%b,"role":[%b],"who":%b' % (concept(PARTICIPATION, "IRCP", "information recipient"), b",".join(roles), who(actor, own)),
        b',"requestor":true',
    ]
    policies = [JTI + word(actor.jti)[-200:]] if actor.jti else []
    if actor.ticket:
        policies.append(TICKET + quote(actor.ticket[:200], safe=""))
    if policies:
        parts.append(b',"policy":[%b]' % b",".join(map(text, policies)))
    if purposes:
        parts.append(b',"purposeOfUse":[%b]' % b",".join(concept(system, code, "") for system, code in purposes))
    return b"".join((*parts, b"}"))


def who(actor: "Actor", own: bool) -> bytes:
    """Reference of the user. The holder of another dossier is named by identifier: a reference would tie the trace to that one too."""
    if actor.subject_name_id:
        return identified("Practitioner", IDNPS, professional(actor.subject_name_id))
    if actor.related_person:
        return b'{"reference":%b}' % text("RelatedPerson/" + actor.related_person)
    if actor.patient:
        return b'{"reference":%b}' % text("Patient/" + actor.patient) if own else identified("Patient", LOCAL_PATIENT, actor.patient)
    if actor.ins:
        return identified("Patient", *actor.ins)
    if actor.kind == "structure":
        return identified("Organization", IDNST, structure(actor.organization))
    return identified("", actor.issuer, actor.host or actor.subject)


def professional(said: str) -> str:
    """A professional in the spelling of the rules, so that one search finds all his traces; what names none as it was said."""
    return identity.professional(None, said) or said


def structure(said: str) -> str:
    """The same of a structure."""
    return identity.structure(None, said) or said


def identified(type_name: str, system: str, value: str) -> bytes:
    """A logical reference."""
    kind = b'"type":"%b",' % type_name.encode() if type_name else b""
    return b'{%b"identifier":{%b"value":%b}}' % (kind, uri_member(system), text(value))


@cache
def source(server: Server) -> bytes:
    """The `source` member: this host watched."""
    return b'"source":{"observer":{"identifier":{"value":%b},"display":%b},"type":[%b]}' % (
        text(server.identity),
        text(server.name),
        coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server"),
    )


# Entities


def _typed(system: str, type_code: str, role: str) -> bytes:
    # Without displays: a page of 1,000 documents is told by 1,000 entities.
    return b'"type":%b,"role":%b' % (coding(system, type_code, ""), coding(ENTITY_ROLE, role, ""))


PATIENT = _typed(ENTITY_TYPE, "1", "1")
DATA = _typed(ENTITY_TYPE, "2", "4")
QUERY = _typed(ENTITY_TYPE, "2", "24")
CONSENT = _typed("http://hl7.org/fhir/resource-types", "Consent", "4")
REQUEST = b'"type":' + coding(BALP_ENTITY, "XrequestId", "")


def entities(trace: Trace) -> tuple[bytes, ...]:
    """The `entity` member in pieces, () when there is nothing to name."""
    listed = []
    if trace.query:
        query = b64encode(trace.query.encode("utf-8", "replace"))
        listed.append(b'{%b,"query":"%b"}' % (QUERY, query))
    if trace.patient:
        listed.append(b'{"what":{"reference":%b},%b}' % (text("Patient/" + trace.patient), PATIENT))
    if trace.disclosed:
        data = DATA + (labels(*trace.labels) if trace.labels is not None else b"") + b"}"
        listed += [b'{"what":{"reference":"%b"},%b' % (one.reference.encode(), data) for one in trace.disclosed]
    for consent in trace.consents:
        listed.append(b'{"what":{"reference":"Consent/%b"},%b}' % (consent.encode(), CONSENT))
    if trace.request_id:
        listed.append(b'{"what":{"identifier":{"value":%b}},%b}' % (text(trace.request_id, 200), REQUEST))
    return (b',"entity":[', b",".join(listed), b"]") if listed else ()


def labels(before: Iterable[str], after: Iterable[str]) -> bytes:
    """Details of an act of masking: the visibility labels as they were and as they are."""
    return b',"detail":[{"type":"label-before","valueString":%b},{"type":"label-after","valueString":%b}]' % (
        text(" ".join(before) or "none"),
        text(" ".join(after) or "none"),
    )
