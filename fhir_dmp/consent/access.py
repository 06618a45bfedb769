"""Admission: whether an actor may ask at all, before any rule about a dossier.

https://profiles.ihe.net/ITI/PCF/ Consent Enforcement Point; SMART scopes narrow whatever the rules allow.
"""

from fhir_dmp.errors import FhirError

# One wording for every refusal, whoever asks and whatever for: a difference would tell something about the dossier.
REFUSED = "this access is refused"


def admit(actor, sandbox: bool) -> bool:
    """Whether the rules are asked about this actor: about all but the `system` tokens of a sandbox; elsewhere those are refused.

    actor: identity.actor.Actor.
    """
    if actor.kind == "system" and not sandbox:
        raise FhirError("forbidden", REFUSED)
    return actor.kind != "system"


def require_scope(actor, type_name: str | None, letter: str) -> None:
    """Refuse what the token's scopes leave out. letter: one of `cruds`; type_name None: every type at once."""
    if not actor.allows(type_name or "*", letter):
        raise FhirError("forbidden", REFUSED)
