"""Admission: whether an actor may ask at all, before any rule about a dossier.

https://profiles.ihe.net/ITI/PCF/ Consent Enforcement Point; SMART scopes narrow whatever the rules allow.
"""

from fhir_dmp.errors import FhirError

# One wording for every refusal, whoever asks and whatever for: a difference would tell something about the dossier.
REFUSED = "this access is refused"


def admit(actor, sandbox: bool) -> None:
    """Admit the `system` tokens of a sandbox and nobody else. actor: identity.actor.Actor."""
    if not (sandbox and actor.kind == "system"):
        raise FhirError("forbidden", REFUSED)


def require_scope(actor, type_name: str | None, letter: str) -> None:
    """Refuse what the token's scopes leave out. letter: one of `cruds`; type_name None: every type at once."""
    if not actor.allows(type_name or "*", letter):
        raise FhirError("forbidden", REFUSED)
