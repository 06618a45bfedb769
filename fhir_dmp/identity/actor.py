"""Who asks: the claims of a verified access token as one frozen value.

IHE IUA https://profiles.ihe.net/ITI/IUA/ ; claim names of professionals are those of Pro Santé Connect.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fhir_dmp.errors import FhirError
from fhir_dmp.identity import scopes as smart

# kind -> contexts of the SMART scopes that speak about it
CONTEXTS: dict[str, tuple[str, ...]] = {
    "professional": ("user",),
    "patient": ("patient", "user"),
    "representative": ("patient", "user"),
    "mandataire": ("patient", "user"),
    "structure": ("system", "user"),
    "host": ("system",),
    "feed": ("system",),
    "system": ("system",),
    "support": ("user",),
    "operator": ("user", "system"),
}
KINDS = tuple(CONTEXTS)
AUTH_MODES = ("CPS", "PSC", "AIR")
ROLES = ("admin", "physician")
LONGEST = 1024
# Some dozens of types, each with its letters.
LONGEST_SCOPE = 8192
CHALLENGE = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One verified bearer. Empty texts and tuples mean that the token does not say.

    kind: key of CONTEXTS. issuer, subject, jti, client_id, software: as claimed, traced. expires: seconds since the epoch.
    scopes: SMART scopes, None when the token carries no `scope` claim.
    subject_name_id: IDNPS, e.g. "810001234567". roles: as claimed, e.g. "10^1.2.250.1.213.1.1.5.5". specialties: e.g. "SM54".
    category: codeCategorieProfessionnelle. organization: FINESS or other identifier as claimed. sector: code, e.g. "SA07".
    purposes: pairs (system, code), e.g. ("http://terminology.hl7.org/CodeSystem/v3-ActReason", "TREAT").
    patient, related_person: logical ids. ins: (system, value). with_professional: IDNPS beside a minor.
    session: of a login at this host, the credentials it came from and the instant of their issue in ms, e.g. ("4f...", 1795000000000).
    host: identifier of another host. level, ticket: of the support. role: of an operator.
    """

    kind: str
    issuer: str
    subject: str
    expires: float
    jti: str = ""
    client_id: str = ""
    software: str = ""
    scopes: tuple[smart.Scope, ...] | None = None
    subject_name_id: str = ""
    roles: tuple[str, ...] = ()
    specialties: tuple[str, ...] = ()
    category: str = ""
    organization: str = ""
    sector: str = ""
    auth_mode: str = ""
    regulation: bool = False
    purposes: tuple[tuple[str, str], ...] = ()
    secret_session: bool = False
    patient: str = ""
    ins: tuple[str, str] | None = None
    related_person: str = ""
    with_professional: str = ""
    session: tuple[str, int] | None = None
    host: str = ""
    level: int = 0
    ticket: str = ""
    role: str = ""

    @property
    def professions(self) -> tuple[str, ...]:
        """Profession codes of `roles`, without the OID of their nomenclature: "10^1.2.250.1.213.1.1.5.5" -> "10"."""
        return tuple(role.partition("^")[0] for role in self.roles)

    def allows(self, type_name: str, letter: str) -> bool:
        """Whether the token's scopes leave this letter of `cruds` on the type. Scopes never grant: the rules decide beside them."""
        return self.scopes is None or smart.allows(self.scopes, CONTEXTS[self.kind], type_name, letter)


def parse(claims: Mapping[str, object]) -> Actor:
    """The Actor of already verified claims; FhirError "login" when a claim that its kind needs is absent or of the wrong shape."""
    kind = text(claims, "dmp_kind")
    if kind not in CONTEXTS:
        raise refusal("dmp_kind")
    scope = text(claims, "scope", LONGEST_SCOPE) if "scope" in claims else None
    actor = Actor(
        kind=kind,
        issuer=text(claims, "iss"),
        subject=text(claims, "sub"),
        expires=float(claims["exp"]),
        jti=text(claims, "jti"),
        client_id=text(claims, "client_id"),
        software=text(claims, "software"),
        scopes=None if scope is None else smart.parse(scope),
        **OWN.get(kind, nothing)(claims),
    )
    if not actor.subject:
        raise refusal("sub")
    return actor


def professional(claims: Mapping[str, object]) -> dict[str, object]:
    """Claims of a professional, named as Pro Santé Connect names them. What a directory does not know it says as null, or in blanks."""
    claims = {name: value for name, value in claims.items() if value is not None}
    auth_mode = text(claims, "auth_mode")
    if auth_mode not in ("", *AUTH_MODES):
        raise refusal("auth_mode")
    regulation = text(claims, "Acces_Regulation_Medicale")
    if regulation not in ("", "VRAI", "FAUX"):
        raise refusal("Acces_Regulation_Medicale")
    organization = text(claims, "SubjectOrganizationID").strip()
    if auth_mode == "AIR" and not organization:
        # Nobody would answer for its user.
        raise refusal("SubjectOrganizationID")
    category, specialties = practised(claims)
    return {
        "subject_name_id": needed(claims, "SubjectNameID"),
        "roles": texts(claims, "SubjectRole") or fail("SubjectRole"),
        "specialties": specialties,
        "category": category,
        "organization": organization,
        "sector": text(claims, "Secteur_Activite").partition("^")[0],
        "auth_mode": auth_mode,
        "regulation": regulation == "VRAI",
        "purposes": purposes(claims),
        "secret_session": flag(claims, "secret_session"),
    }


def practised(claims: Mapping[str, object]) -> tuple[str, tuple[str, ...]]:
    """Category and specialties of a professional. Pro Santé Connect says them of each `SubjectRefPro.exercices`, and nowhere else.

    Those of the professions of `SubjectRole` count, and those of none. Who is in training (E) by one of several is, unless the token says
    itself what he is; specialties add up.
    """
    about = _there(claims, "SubjectRefPro", {})
    listed = _there(about, "exercices", []) if isinstance(about, Mapping) else None
    if not isinstance(listed, list) or len(listed) > 64 or not all(isinstance(one, Mapping) for one in listed):
        raise refusal("SubjectRefPro")
    professions = {"", *(role.partition("^")[0].rpartition("|")[2] for role in texts(claims, "SubjectRole"))}
    those = [one for one in listed if _said(one, "codeProfession") in professions]
    categories = [found for one in those if (found := _said(one, "codeCategorieProfessionnelle").upper())]
    asserted = "E" if "E" in categories else next(iter(categories), "")
    category = text(claims, "codeCategorieProfessionnelle").strip() or asserted
    skills = (found for one in those if (found := _said(one, "codeSavoirFaire")))
    return category, tuple(dict.fromkeys((*_skilled(claims), *skills)))


def _skilled(claims: Mapping[str, object]) -> tuple[str, ...]:
    said = _there(claims, "specialty", [])
    listed = said if isinstance(said, list) else [said]
    return texts({"specialty": [one for one in listed if not isinstance(one, str) or one.strip()]}, "specialty")


def _there(claims: Mapping[str, object], name: str, absent: object) -> object:
    """A part of what a directory says: what it does not know it says as null."""
    value = claims.get(name)
    return absent if value is None else value


def _said(exercise: Mapping[str, object], name: str) -> str:
    return text({name: _there(exercise, name, "")}, name).strip()


def holder(claims: Mapping[str, object]) -> dict[str, object]:
    """Claims of the holder: `ins` as system|value, or `patient`, or both."""
    ins = text(claims, "ins")
    system, bar, value = ins.rpartition("|")
    if ins and not (bar and system and value):
        raise refusal("ins")
    patient = text(claims, "patient")
    if not (ins or patient):
        raise refusal("patient")
    named = {"patient": patient, "ins": (system, value) if ins else None, "with_professional": text(claims, "with")}
    return {**named, "session": session(claims)}


def relative(claims: Mapping[str, object]) -> dict[str, object]:
    """Claims of a representative or mandataire: `patient` and `related_person`, or neither before the dossier is open."""
    patient, related = text(claims, "patient"), text(claims, "related_person")
    if bool(patient) != bool(related):
        raise refusal("related_person" if patient else "patient")
    return {"patient": patient, "related_person": related, "session": session(claims)}


def session(claims: Mapping[str, object]) -> tuple[str, int] | None:
    """`dmp_session` of a token that a login was answered with, as credentials.instant; None for a token from elsewhere."""
    said = text(claims, "dmp_session")
    credential, dot, issued = said.partition(".")
    if said and not (credential and dot and issued.isascii() and issued.isdigit() and len(issued) <= 16):
        raise refusal("dmp_session")
    return (credential, int(issued)) if said else None


def structure(claims: Mapping[str, object]) -> dict[str, object]:
    """Claims of an establishment's certificate."""
    return {"organization": needed(claims, "SubjectOrganizationID")}


def support(claims: Mapping[str, object]) -> dict[str, object]:
    """Claims of the support: level 1 or 2, and the ticket."""
    level = claims.get("level")
    if isinstance(level, bool) or level not in (1, 2):
        raise refusal("level")
    return {"level": int(level), "ticket": needed(claims, "ticket")}


def operator(claims: Mapping[str, object]) -> dict[str, object]:
    """Claims of this host's own staff."""
    role = needed(claims, "role")
    if role not in ROLES:
        raise refusal("role")
    return {"role": role, "ticket": text(claims, "ticket").strip()}


def nothing(claims: Mapping[str, object]) -> dict[str, object]:
    """No claims of its own."""
    return {}


OWN = {
    "professional": professional,
    "patient": holder,
    "representative": relative,
    "mandataire": relative,
    "structure": structure,
    "host": lambda claims: {"host": needed(claims, "host")},
    "support": support,
    "operator": operator,
}


def purposes(claims: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """extensions.ihe_iua.purpose_of_use as pairs (system, code)."""
    found: object = claims
    for name in ("extensions", "ihe_iua", "purpose_of_use"):
        if not isinstance(found, Mapping):
            raise refusal("extensions.ihe_iua")
        found = found.get(name)
        if found is None:
            return ()
    listed = [found] if isinstance(found, Mapping) else found
    if not isinstance(listed, list) or len(listed) > 16 or not all(isinstance(one, Mapping) for one in listed):
        raise refusal("extensions.ihe_iua.purpose_of_use")
    return tuple((text(one, "system"), needed(one, "code")) for one in listed)


def text(claims: Mapping[str, object], name: str, longest: int = LONGEST) -> str:
    """A claim as text, "" when absent."""
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise refusal(name)
    return value


def needed(claims: Mapping[str, object], name: str) -> str:
    """A claim that must say something."""
    return text(claims, name).strip() or fail(name)


def texts(claims: Mapping[str, object], name: str) -> tuple[str, ...]:
    """A claim that is a list of texts, or one text."""
    value = claims.get(name, [])
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or len(listed) > 64:
        raise refusal(name)
    return tuple(needed({name: one}, name) for one in listed)


def flag(claims: Mapping[str, object], name: str) -> bool:
    """A claim that is true or false."""
    value = claims.get(name, False)
    if not isinstance(value, bool):
        raise refusal(name)
    return value


def fail(name: str):
    """Raise the refusal of a claim, where an expression is needed."""
    raise refusal(name)


def refusal(name: str) -> FhirError:
    """The token cannot be used because of this claim."""
    return FhirError("login", f"access token: claim `{name}` is absent or not usable", headers=CHALLENGE)
