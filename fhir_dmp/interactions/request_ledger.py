"""What one request was shown and did, noted while it is answered: its traces are made of it, and what is left to be done.

https://profiles.ihe.net/ITI/BALP/
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from fhir_dmp.consent.asking import ACT_REASON
from fhir_dmp.consent.dossier import Right
from fhir_dmp.interactions.reviewing import Pending
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import version_id

if TYPE_CHECKING:
    from fhir_dmp.interactions.enforcement import Known

# What all he does is for, in the traces, while a break-glass grant of his is open.
BROKEN_GLASS = ((ACT_REASON, "BTG"),)


class Ledger(msgspec.Struct):
    """What one request was shown, for its trace. disclosed: patient -> (type, id, version). patient: the one it named, "" for none.

    lineages: facts of the documents among it, by the hash of their root. written: the trace is stored with the write.
    purposes: (system, code), in place of those of the token. acts: dossiers, by number, whose protective acts are to be kept once
    committed, or are said to be done. kept: facts of what was not shown. addressed: (type, id) of what the request names by its id, of that
    patient. reviews: what the act leaves for the host's physician, not yet stored. regulated: dossiers, by number, that nothing but the
    regulation of emergency calls opened. asked: patient -> what a Bundle asked for of him, in place of the Bundle itself.
    watched: the request names a dossier of which he sees all traces, hence also that this one was refused. authored: patient -> facts of
    his own documents, where they alone let him in: whoever does not see them shall not be told that he was let in. alone: what is asked is
    about one resource, though its address names another. apart: (kind, words, ledger) of parts of a Bundle that are told by themselves,
    as they would be alone. told: every part that showed nothing has its trace. secretly: patients into whose dossiers nothing but what was
    given in a minor's secret session lets him. openly: patients with whom his secret session is none. secret_purposes: of those traces
    alone that no representative is told of. covered: documents that what replaces them hides, see covering.Covered; not yet stored.
    joined: rows whose lineages something joins that is about to be stored, with when they were last acted on.
    """

    disclosed: dict[str, dict[tuple[str, str, str], None]] = {}
    patient: str = ""
    lineages: dict[int, Mapping[str, Any]] = {}
    written: bool = False
    purposes: tuple[tuple[str, str], ...] | None = None
    acts: frozenset[int] = frozenset()
    kept: tuple[Mapping[str, Any], ...] = ()
    addressed: dict[tuple[str, str], None] = {}
    reviews: list[Pending] = []
    regulated: dict[int, "Known"] = {}
    asked: dict[str, list[str]] = {}
    watched: bool = False
    authored: dict[str, Mapping[str, Any]] = {}
    alone: bool = False
    apart: "dict[tuple[object, ...], tuple[str, str, Ledger]]" = {}
    told: bool = False
    secretly: frozenset[str] = frozenset()
    openly: frozenset[str] = frozenset()
    secret_purposes: tuple[tuple[str, str], ...] | None = None
    covered: "list[Any]" = []
    joined: dict[bytes, int] = {}

    def note(self, patient: str, row: Row, id: str) -> None:
        """A version is about to be shown."""
        shown = self.disclosed.get(patient)
        if shown is None:
            shown = self.disclosed[patient] = {}
        shown[row.type, id, version_id(row.version)] = None
        visible = row.visible
        if type(visible) is dict:
            if root := visible.get("rt"):
                self.lineages[root] = visible
        else:
            self.lineages |= {one["rt"]: one for one in visible or () if one.get("rt")}

    def broken(self, grant: Right) -> None:
        """The glass is broken: what all of this is for."""
        if grant.secret:
            self.secret_purposes = BROKEN_GLASS
        else:
            self.purposes = BROKEN_GLASS

    def add(self, part: "Ledger", asked: str = "") -> None:
        """What one part of the request was shown and did.

        asked: its words, told of those patients alone of whom it showed something, else of the one whom it named: that there is nothing,
        or how much, is told too. What wrote has its trace already, which is hidden with what was written.
        """
        named = part.disclosed or ({} if part.written else {part.patient: {}})
        for patient in named if asked else ():
            words = self.asked.setdefault(patient, [])
            if asked not in words:
                words.append(asked)
        for patient, those in part.disclosed.items():
            self.disclosed.setdefault(patient, {}).update(those)
        self.patient = part.patient or self.patient
        self.lineages |= part.lineages
        self.authored |= part.authored
        self._did(part)

    def set_apart(self, part: "Ledger", kind: str, asked: str) -> None:
        """The same of a part about one resource, told by itself: whoever may not see that one is not told of the part, nor of the Bundle.

        kind: of its interaction. asked: its words.
        """
        these = tuple([(patient, *those) for patient, those in part.disclosed.items()])
        self.apart[kind, asked, these, part.patient] = kind, asked, part
        self.told = True
        self._did(part)

    def _did(self, part: "Ledger") -> None:
        self.written |= part.written
        self.watched |= part.watched
        self.secretly |= part.secretly
        self.openly |= part.openly
        self.secret_purposes = part.secret_purposes or self.secret_purposes
        self.purposes = part.purposes or self.purposes
        self.kept += part.kept
        self.addressed |= part.addressed
        self.reviews += part.reviews
        self.acts |= part.acts
        self.regulated |= part.regulated
