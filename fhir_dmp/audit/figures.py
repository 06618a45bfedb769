"""Figures over traces: who uses the dossiers and how, without anything that names a person.

Seed 002 (experimentation of 2006): dossiers fed and active, professionals per dossier, connections of patients and what they did.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_dmp.audit.event import SUCCESS
from fhir_dmp.audit.told import act_of, disclosed, kind_of, query_of, session_of, user_of
from fhir_dmp.dmp.identity import known_as

DOCUMENTS = frozenset({"DocumentReference", "Binary"})
CHANGES = frozenset({"create", "update", "patch"})
RIGHTS = frozenset({"consent", "mask", "unmask"})
PERSONAL = frozenset({"Patient", "RelatedPerson"})
# What a Bundle writes is told as what each part did; its own trace tells what it read.
READS = frozenset(
    {"read", "vread", "history", "history-instance", "history-type", "search", "search-type", "operation", "batch", "transaction"}
)
HOLDERS_SIDE = frozenset({"patient", "representative"})
# What patients did in their sessions.
ACTIONS = ("document-read", "document-added", "traces-viewed", "personal-data-changed", "rights-changed")
LOGIN = "110122"


@dataclass(slots=True)
class Figures:
    """Sums over traces. Keys of dossiers are numbers that never leave; sessions are tokens, counted and forgotten.

    active: dossiers in which a document was read or added. reads: shown resources by type. documents: "DocumentReference/id" -> how often
    it was shown. read_by, fed_by: dossiers whose documents professionals read, added to. actions: of patients, see ACTIONS.
    """

    active: set[int] = field(default_factory=set)
    professionals: dict[int, set[str]] = field(default_factory=dict)
    read_by: set[int] = field(default_factory=set)
    fed_by: set[int] = field(default_factory=set)
    reads: Counter[str] = field(default_factory=Counter)
    documents: Counter[str] = field(default_factory=Counter)
    consulted: set[int] = field(default_factory=set)
    connected: set[int] = field(default_factory=set)
    sessions: set[tuple[int, str]] = field(default_factory=set)
    actions: Counter[str] = field(default_factory=Counter)

    def add(self, dossier: int, event: Mapping[str, Any]) -> None:
        """One trace of a dossier; what was refused or failed does not count."""
        if event.get("outcome") != SUCCESS:
            return
        user, act = user_of(event), act_of(event)
        kind, shown = kind_of(user), disclosed(event)
        types = {one.partition("/")[0] for one in shown}
        reading = act in READS and bool(shown)
        opening = reading and bool(types & DOCUMENTS)
        adding = act == "create" and "DocumentReference" in types
        if reading:
            self.reads.update(one.partition("/")[0] for one in shown)
            self.documents.update(one for one in shown if one.startswith("DocumentReference/"))
        if opening or adding:
            self.active.add(dossier)
        if kind == "professional":
            self._professional(dossier, user, opening, adding)
        elif kind in HOLDERS_SIDE:
            self._patient(dossier, user, event, act)
            changing = act in CHANGES
            happened = {
                "document-read": opening,
                "document-added": adding,
                "traces-viewed": "$access-journal" in query_of(event) or (reading and "AuditEvent" in types),
                "personal-data-changed": changing and bool(types & PERSONAL),
                "rights-changed": act in RIGHTS or (changing and "Consent" in types),
            }
            self.actions.update(name for name, so in happened.items() if so)
            if reading:
                self.consulted.add(dossier)

    def _professional(self, dossier: int, user: Mapping[str, Any], opening: bool, adding: bool) -> None:
        identifier = (user.get("who") or {}).get("identifier")
        if identifier and (opening or adding):
            self.professionals.setdefault(dossier, set()).update(known_as([identifier]))
        if opening:
            self.read_by.add(dossier)
        if adding:
            self.fed_by.add(dossier)

    def _patient(self, dossier: int, user: Mapping[str, Any], event: Mapping[str, Any], act: str) -> None:
        """A session is a token; a login whose trace names none counts for itself."""
        session = session_of(user) or (event.get("recorded", "") if act == LOGIN else "")
        if session:
            self.sessions.add((dossier, session))
            self.connected.add(dossier)
