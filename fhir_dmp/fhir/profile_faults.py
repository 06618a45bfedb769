"""What is wrong with a resource that a profile is held against: a fault as a value, and its words in English and French.

https://hl7.org/fhir/R4/operationoutcome.html
"""

from typing import Any, NamedTuple

from fhir_dmp.errors import Issue
from fhir_dmp.fhir.rules import MAX_ISSUES, Place, expression, shown

LANGUAGES = ("en", "fr")

# rule -> (IssueType, English, French); {name} element, {said} what is there, {listed} what may be, {about} what the element is for.
WORDS: dict[str, tuple[str, str, str]] = {
    "min": ("required", "{name} is required here{about}", "{name} est exigé ici{about}"),
    "few": (
        "required",
        "{name} must be here at least {listed} times, there is {said}{about}",
        "{name} doit figurer ici au moins {listed} fois, il y en a {said}{about}",
    ),
    "max": (
        "structure",
        "{name} may be here at most {listed} times, there are {said}{about}",
        "{name} peut figurer ici au plus {listed} fois, il y en a {said}{about}",
    ),
    "absent": ("structure", "{name} is not admitted here; remove it{about}", "{name} n'est pas admis ici ; à retirer{about}"),
    "fixed": ("value", "{name} must be exactly {listed}, not {said}", "{name} doit être exactement {listed}, et non {said}"),
    "pattern": ("value", "{name} must hold {listed}", "{name} doit contenir {listed}"),
    "type": ("structure", "{name} must be of type {listed}, not {said}", "{name} doit être de type {listed}, et non {said}"),
    "binding": ("code-invalid", "{said} is not a code of {listed}", "{said} n'est pas un code de {listed}"),
    "extensible": (
        "code-invalid",
        "{said} is not a code of {listed}; use one of its codes where one fits",
        "{said} n'est pas un code de {listed} ; employer un de ses codes quand l'un convient",
    ),
    "closed": ("structure", "{name} must be one of {listed}", "{name} doit être l'un de : {listed}"),
    "target": ("structure", "this reference must name {listed}, not {said}", "cette référence doit désigner {listed}, et non {said}"),
    "profile": ("structure", "this follows none of {listed}", "ceci ne suit aucun de {listed}"),
    "resource": ("structure", "a {listed} is expected, not a {said}", "un {listed} est attendu, et non un {said}"),
    "crowded": (
        "too-costly",
        "{name} is here {said} times; a profile judges at most {listed}",
        "{name} figure ici {said} fois ; un profil en juge au plus {listed}",
    ),
    "many": (
        "too-costly",
        "there are more than {listed} faults; the others are not listed",
        "il y a plus de {listed} défauts ; les autres sont omis",
    ),
}


class Text(NamedTuple):
    """The same words in English and French."""

    en: str = ""
    fr: str = ""


class Fault(NamedTuple):
    """One fault. rule: key of WORDS, or of an invariant. severity: error or warning.

    element: id of the element definition, e.g. "Patient.name:official". expression: FHIRPath of the place. name, said, listed: of WORDS.
    about: what the element is for; of an invariant, what it says.
    """

    rule: str
    severity: str
    element: str
    expression: str
    name: str = ""
    said: str = ""
    listed: str = ""
    about: Text = Text()

    def issue(self, language: str = "en") -> Issue:
        """As an OperationOutcome tells it. language: en or fr."""
        french = language == "fr"
        about = self.about.fr if french else self.about.en
        if self.rule not in WORDS:
            return Issue(self.severity, "invariant", f"{about} ({self.rule})", self.expression)
        code, en, fr = WORDS[self.rule]
        words = fr if french else en
        about = f"{' : ' if french else ': '}{about}" if about else ""
        return Issue(self.severity, code, words.format(name=self.name, said=self.said, listed=self.listed, about=about), self.expression)


class Run:
    """One validation. resource: what invariants call %resource. contained: id -> type of what it contains.

    alone: what the resources in it break of their own profiles is not looked for.
    crowded: some element has too many values to be judged; invariants then stay away from them.
    """

    __slots__ = ("resource", "contained", "faults", "alone", "crowded")

    def __init__(self, resource: dict, contained: dict[str, str], faults: list[Fault], *, alone: bool = False) -> None:
        self.resource, self.contained, self.faults, self.alone, self.crowded = resource, contained, faults, alone, False

    def add(
        self,
        rule: str,
        element: str,
        place: Place,
        severity: str = "error",
        *,
        name: str = "",
        said: str = "",
        listed: str = "",
        about: Text = Text(),  # noqa: B008
    ) -> None:
        """Note a fault; beyond MAX_ISSUES only that there are more."""
        if len(self.faults) < MAX_ISSUES:
            self.faults.append(Fault(rule, severity, element, expression(place), name, said, listed, about))
        elif len(self.faults) == MAX_ISSUES:
            self.faults.append(Fault("many", "error", element, "", listed=str(MAX_ISSUES)))


def brief(value: Any) -> str:
    """A value as it may stand in a message: codes and addresses in full, the rest shortened.

    >>> brief({"coding": [{"system": "http://loinc.org", "code": "60591-5"}]}), brief("a"), brief(None)
    ('`http://loinc.org|60591-5`', '`a`', 'nothing')
    """
    if isinstance(value, dict):
        if isinstance(value.get("coding"), list):
            return ", ".join(brief(one) for one in value["coding"][:3]) or "nothing"
        if "code" in value or "system" in value:
            system, code = value.get("system"), value.get("code") or value.get("value") or ""
            return f"`{system}|{code}`" if isinstance(system, str) and len(system) < 160 else shown(code)
        return "an object"
    if isinstance(value, list):
        return ", ".join(brief(one) for one in value[:3])
    if value is None:
        return "nothing"
    return shown(str(value).lower() if isinstance(value, bool) else value)
