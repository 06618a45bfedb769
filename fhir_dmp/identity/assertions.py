"""Assertions: what a trusted issuer, e.g. Pro Santé Connect, says of a professional, taken once in exchange for a token of this host.

https://www.rfc-editor.org/rfc/rfc7523#section-3 ; https://industriels.esante.gouv.fr/produits-et-services/pro-sante-connect
"""

import hashlib
from typing import NamedTuple

from fhir_dmp.errors import FhirError
from fhir_dmp.identity import scopes as smart
from fhir_dmp.identity.actor import LONGEST_SCOPE, parse, practised, text
from fhir_dmp.identity.tokens import ACCESS_TYPES, FORM, LONGEST_TOKEN, Tokens, check_voice, moment, object_of, refusal

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
KIND = "professional"
# RFC 7523 leaves `typ` open: Pro Santé Connect sends JWT, others nothing.
TYPES = ACCESS_TYPES | {"jwt", ""}
LONGEST_LIFE_SECONDS = 3600
# What is taken over, as the issuer says it; everything else of the token made of it is said by this host.
CLAIMS = (
    *("sub", "SubjectNameID", "SubjectRole", "specialty", "SubjectOrganizationID", "Secteur_Activite", "auth_mode"),
    *("Acces_Regulation_Medicale", "codeCategorieProfessionnelle", "secret_session", "extensions", "client_id", "software"),
)


class Asserted(NamedTuple):
    """claims: of the token to be issued. once: what must not come twice. since_ms, until_ms: UTC, from when until when it could come."""

    claims: dict[str, object]
    once: tuple[str, str]
    since_ms: int
    until_ms: int


async def verify(tokens: Tokens, assertion: str, now_ms: int, audiences: frozenset[str], scope: str = "") -> Asserted:
    """What an assertion says; FhirError "login" when it is not usable, for whatever reason.

    audiences: names of this authorisation server, beside the audience that the issuer's row gives. scope: asked for, it narrows.
    """
    if len(assertion) > LONGEST_TOKEN:
        raise refusal("too long")
    issuer, claims, _ = await tokens.verify_signature(assertion, now_ms, TYPES, audiences | {tokens.host.issuer})
    if issuer is tokens.host:
        raise refusal("a token of this host is no assertion")
    expires = moment(claims, "exp")
    begins = max(moment(claims, "nbf", 0), moment(claims, "iat", 0))
    tokens.check_dates(issuer, begins, expires, now_ms)
    if expires > now_ms / 1000 + LONGEST_LIFE_SECONDS + tokens.skew_seconds:
        raise refusal("its `exp` is too far away")
    if claims.get("dmp_kind", KIND) != KIND:
        raise refusal("only a professional is asserted")
    taken = {name: claims[name] for name in CLAIMS if claims.get(name) is not None}
    category, specialties = practised(claims)
    taken |= ({"codeCategorieProfessionnelle": category} if category else {}) | ({"specialty": list(specialties)} if specialties else {})
    taken.setdefault("auth_mode", "PSC")
    taken.setdefault("sub", claims.get("SubjectNameID", ""))
    if "azp" in claims:
        taken.setdefault("client_id", claims["azp"])
    if narrowed := scope_of(text(claims, "scope", LONGEST_SCOPE), scope):
        taken["scope"] = narrowed
    check_voice(issuer, parse({"iss": issuer.issuer, "exp": expires, **taken, "dmp_kind": KIND}))
    # Without a `jti` the assertion itself is what must not come again. Its text has one spelling only: what precedes the signature.
    name = text(claims, "jti") or hashlib.sha256(assertion.rpartition(".")[0].encode()).hexdigest()
    since = max(begins, expires - LONGEST_LIFE_SECONDS) - tokens.skew_seconds
    return Asserted(taken, (issuer.issuer, name), int(since * 1000), int((expires + tokens.skew_seconds) * 1000))


def is_one(text: str) -> bool:
    """Whether a text has the form of an assertion: a signed JWT that is not too long. Anything else says nothing of anybody."""
    parts = FORM.fullmatch(text) if len(text) <= LONGEST_TOKEN else None
    try:
        return parts is not None and bool(object_of(parts[1])) and bool(object_of(parts[2]))
    except FhirError:
        return False


def scope_of(asserted: str, asked: str) -> str:
    """The scopes of the token: those asked for, as far as those asserted leave them; "" when neither says anything about resources.

    >>> scope_of("openid scope_all", "user/*.rs"), scope_of("user/Patient.rs", ""), scope_of("", "openid")
    ('user/*.rs', 'user/Patient.rs', '')
    >>> scope_of("user/*.rs user/Patient.c", "user/Patient.cruds user/Group.d")
    'user/Patient.rs user/Patient.c'
    >>> scope_of("user/Patient.rs", "user/Group.rs")
    'none/none'
    """
    said = [" ".join(word for word in words.split() if "/" in word) for words in (asserted, asked)]
    if not all(said):
        return said[0] or said[1]
    found = []
    for one in smart.parse(said[1]):
        for limit in smart.parse(said[0]):
            letters = "".join(letter for letter in one.letters if letter in limit.letters)
            if letters and one.context == limit.context and (one.type == limit.type or "*" in (one.type, limit.type)):
                found.append(f"{one.context}/{limit.type if one.type == '*' else one.type}.{letters}")
    # No scope at all would leave everything: a word that grants nothing says that nothing is left.
    return " ".join(found) or "none/none"
