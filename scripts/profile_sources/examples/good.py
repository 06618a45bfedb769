"""Examples that follow their profiles, by file name. https://hl7.org/fhir/R4/profiling.html"""

import json

from fhir_dmp.audit.event import Disclosed, Server, Trace, encode
from fhir_dmp.identity.actor import Actor
from scripts.profile_sources.examples import clinical, deposits, parts, rights
from scripts.profile_sources.examples.parts import Resource

AT_MS = 1_795_162_500_000  # 2026-11-20T08:15:00Z
SERVER = Server("urn:oid:1.2.250.1.999.1.1.8121", "Hébergeur de l'Essai", "dmp.example.org")
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"


def actor(**more: object) -> Actor:
    known = {
        "kind": "professional",
        "issuer": "https://idp.example.org",
        "subject": "alix",
        "jti": "3f0c1d1e",
        "client_id": "logiciel-essai",
        "software": "Logiciel de l'Essai 3.1",
        "expires": 0,
        "scopes": None,
    }
    return Actor(**{**known, **more})


def traces() -> dict[str, Resource]:
    """Written by the server's own builder: an example of a trace is a trace."""
    physician = actor(
        subject_name_id="810009999011",
        roles=("10^1.2.250.1.213.1.1.5.5",),
        organization="1350000017",
        purposes=((ACT_REASON, "TREAT"),),
    )
    emergency = actor(subject="sacha", subject_name_id="810009999037", roles=("10^1.2.250.1.213.1.1.5.5",), organization="1350000025")
    holder = actor(kind="patient", subject="camille", software="", client_id="mon-espace", patient="camille-essai")
    one = Disclosed("DocumentReference", "consultation", "1")
    several = (one, Disclosed("DocumentReference", "biologie", "1"))
    about = {"patient": "camille-essai", "at_ms": AT_MS, "request_id": "b7f1", "client_address": "192.0.2.17"}
    listed = {
        "read": Trace(kind="read", actor=physician, disclosed=(one,), query="DocumentReference/consultation", **about),
        "search": Trace(kind="search-type", actor=physician, disclosed=several, query="DocumentReference?patient=camille-essai", **about),
        "create": Trace(kind="create", actor=physician, disclosed=(one,), query="DocumentReference", **about),
        "update": Trace(kind="update", actor=holder, disclosed=(Disclosed("Patient", "camille-essai", "2"),), **about),
        "delete": Trace(kind="delete", actor=holder, disclosed=(Disclosed("DocumentReference", "expression", "1"),), **about),
        "refusal": Trace(
            kind="refusal",
            actor=emergency,
            outcome="8",
            reason="this access is refused",
            query="Patient/camille-essai/$everything",
            **about,
        ),
        "break-glass": Trace(kind="break-glass", actor=emergency, purposes=((ACT_REASON, "BTG"),), consents=("bris-de-glace",), **about),
        "login": Trace(kind="login", actor=holder, **about),
        "consent": Trace(kind="consent", actor=holder, disclosed=(Disclosed("Consent", "blocage", "1"),), **about),
        "mask": Trace(kind="mask", actor=holder, disclosed=(one,), labels=(("N",), ("N", "MASQUE_PS")), **about),
        "unmask": Trace(kind="unmask", actor=holder, disclosed=(one,), labels=(("N", "MASQUE_PS"), ("N",)), **about),
        "import": Trace(
            kind="import", actor=actor(kind="host", subject="hote", host="urn:oid:1.2.250.1.999.1.1.42"), disclosed=several, **about
        ),
        "export": Trace(kind="export", actor=holder, disclosed=several, **about),
    }
    found = {}
    for name, trace in listed.items():
        event = json.loads(encode(trace, id=name, version_id="1", server=SERVER))
        event["meta"]["profile"] = [*event["meta"].get("profile", ()), parts.structure(f"dmp-audit-{name}")]
        found[f"AuditEvent-{name}"] = event
    return found


def examples() -> dict[str, Resource]:
    """File name without ending -> resource."""
    listed = (*people(), *deposits.examples(), *clinical.examples(), *rights.examples())
    found = {f"{one['resourceType']}-{one['id']}": one for one in listed}
    assert len(found) == len(listed), "two examples of one name"
    return dict(sorted((found | traces()).items()))


def people() -> tuple[Resource, ...]:
    return (
        parts.CAMILLE,
        parts.LEO,
        parts.HENRI,
        parts.ALIX,
        parts.SACHA,
        parts.DOMINIQUE,
        parts.INTERNE,
        parts.CABINET,
        parts.HOSPITAL,
        parts.LABORATORY,
        parts.HOST_ORGANIZATION,
    )
