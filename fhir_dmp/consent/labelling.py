"""Labels in requests: which acts a change of labels is, and what a deposit must say.

CSP R1111-49, R1111-50, R1111-53; https://interop.esante.gouv.fr/ig/fhir/pdsm/st_maj.html
"""

from fhir_dmp.consent.asking import Request
from fhir_dmp.consent.law import LAW, Law
from fhir_dmp.consent.predicate import SECRET_SESSION
from fhir_dmp.dmp.documents import Facts
from fhir_dmp.dmp.visibility import CONFIDENTIALITY, INVISIBLE_PATIENT, INVISIBLE_RL, MASKED, Change, issues_of
from fhir_dmp.errors import Issue

ADDING = {MASKED: "mask", INVISIBLE_PATIENT: "hide-from-patient", INVISIBLE_RL: "hide-from-representatives"}
REMOVING = {MASKED: "unmask", INVISIBLE_PATIENT: "announce", INVISIBLE_RL: "show-to-representatives"}
# Modes in which the person himself stands behind the deposit; AIR is a structure that answers for a named user.
PERSONAL_MODES = ("CPS", "PSC", "")


def acts_of(asked: Change) -> tuple[str, ...]:
    """The acts that a change of labels is, each to be decided.

    >>> acts_of(Change(frozenset({"N", "MASQUE_PS"}), frozenset({"INVISIBLE_PATIENT"})))
    ('mask', 'announce', 'classify')
    """
    added = (ADDING[label] for label in sorted(asked.added & set(ADDING)))
    classifying = ("classify",) if asked.added & set(CONFIDENTIALITY) else ()
    return (*added, *(REMOVING[label] for label in sorted(asked.removed & set(REMOVING))), *classifying)


def deposited(request: Request, labels: frozenset[str]) -> frozenset[str]:
    """The labels a deposit gets: in a minor's secret session always hidden from the representatives."""
    return labels | {INVISIBLE_RL} if _secret(request) else labels


def joining(request: Request) -> frozenset[str]:
    """The labels of what joins a lineage that was there before, beside those of that."""
    return frozenset({SECRET_SESSION} if _secret(request) else ())


def _secret(request: Request) -> bool:
    return request.kind == "professional" and request.secret_session


def faults_of_deposit(request: Request, document: Facts, law: Law = LAW) -> list[Issue]:
    """What a deposit must say, for a 422: its depositor among the authors, labels that go together. document: facts in the clear."""
    found = issues_of(document.labels, law.masked_and_invisible)
    if request.kind == "professional" and request.auth_mode in PERSONAL_MODES and request.person not in document.authors:
        found.append(Issue("error", "business-rule", "the depositor is not among the authors", "DocumentReference.author"))
    return found
