"""The rules of one source: who it is, how it names people, what its codes mean here, which consent of the holder it needs.

https://hl7.org/fhir/R4/conceptmap.html
"""

from typing import NamedTuple

import msgspec

SANDBOX, EXPERIMENT, CARE_RECORD, HOST, FEED = "sandbox", "experiment", "care-record", "host", "feed"
KINDS = (SANDBOX, EXPERIMENT, CARE_RECORD, HOST, FEED)
# The holder's Consent without which nothing of this kind of source enters the dossier. A transfer by his choice of host needs none: it is
# the package of his dossier, and a host sends nothing else.
CONSENTS = {EXPERIMENT: "takeover", CARE_RECORD: "feed", HOST: "", FEED: "reimbursement"}
# What the law of deposits calls it.
ORIGINS = {EXPERIMENT: "experimental", CARE_RECORD: "other-dossier", HOST: "transfer", FEED: ""}


class Target(NamedTuple):
    """What a local code means here."""

    system: str
    code: str
    display: str = ""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """source: id in the registry. kind: of KINDS. host: who runs it. consent: category of the Consent it needs, "" for none.

    organization: FINESS or other identifier of the depositing structure. base_urls: addresses by which its resources name one another.
    systems: name -> system of the identifiers by which it knows people, e.g. {"IPP": "urn:oid:1.2"}. labels: put on every document.
    maps: element of a DocumentReference, e.g. "type" -> "system|code" -> meaning. dossier: number of the key that seals its quarantine.
    """

    source: str
    name: str = ""
    kind: str = SANDBOX
    host: str = ""
    consent: str = ""
    organization: str = ""
    base_urls: tuple[str, ...] = ()
    systems: dict[str, str] = {}
    labels: tuple[str, ...] = ()
    maps: dict[str, dict[str, Target]] = {}
    dossier: int = 0

    @property
    def plain(self) -> bool:
        """A source of a sandbox: plain FHIR, ids are kept, no rule of the dossier applies."""
        return self.kind == SANDBOX

    @property
    def origin(self) -> str:
        """As consent.asking.Request calls the source."""
        return ORIGINS.get(self.kind, "")
