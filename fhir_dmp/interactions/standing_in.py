"""What is not there is judged too, by something that stands in for it: time shall not tell it from what is hidden.

https://profiles.ihe.net/ITI/PCF/ ; access-rules 6: no extra message or timing path. Measured by `fhir-dmp bench timing`.
"""

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_dmp.audit.event import Disclosed, Trace
from fhir_dmp.consent.dossier import Dossier, Right
from fhir_dmp.consent.predicate import LABEL_BITS
from fhir_dmp.store.rows import Row, row_of
from fhir_dmp.store.vault import seal, version_row

if TYPE_CHECKING:
    from fhir_dmp.interactions.context import Context
    from fhir_dmp.interactions.enforcement import Known

# A dossier that nobody has, and a document in it that everybody is kept from who is not its author.
PATIENT = "a" * 26
POLICY = Dossier(patient=PATIENT, birth_date="1970-01-01", traitant=frozenset({"ps:"}), epoch=1)
TOLD = Trace(kind="refusal", at_ms=0, patient=PATIENT, disclosed=(Disclosed("DocumentReference", PATIENT),))
# What they add to a trace is made, and then compressed, sealed and stored: about twice what making it takes, as measured.
MADE = 2
_KEY = AESGCM(os.urandom(32))
_PLACE, _VERSION, _BODY_BYTES = bytes(16), 1, 1200
_DOCUMENT = {
    "_id": _PLACE,
    "d": -1,
    "t": "DocumentReference",
    "v": _VERSION,
    "l": 0,
    "m": "POST",
    "y": {"lb": sum(LABEL_BITS.values()), "ty": 1, "au": [1], "og": 1, "fd": 0, "rl": 1 << 60, "st": 0, "rt": 1},
    "b": seal(_KEY, bytes(_BODY_BYTES), version_row(_PLACE, _VERSION)),
}


def of(context: "Context") -> Dossier:
    """The policy of the dossier that nobody has; whoever asks is a member of the care team, or the holder."""
    request = context.enforcer.request
    if request.person:
        return replace(POLICY, team=(Right(request.person),))
    return replace(POLICY, patient=request.patient or PATIENT)


def document(*, body: bool = True) -> Row:
    """The document, opened anew, or its facts alone."""
    return row_of(_DOCUMENT, _KEY if body else None)


def hidden(met: "Known", *, body: bool = True) -> None:
    """Take as long as to judge a document that is hidden. met: the dossier that nobody has. body: whether it is opened for that."""
    met.reads(document(body=body))


def told(context: "Context") -> None:
    """Take as long as to name, in the trace of a refusal, a document and whose it is."""
    for _ in range(MADE):
        context.recorder.indexer.made_of(TOLD)


def refused(met: "Known") -> None:
    """Take as long as to find that a dossier refuses. met: the dossier that nobody has, without the one who asks."""
    if met.request.kind == "professional":
        _ = met.standing.related
    met.left("DocumentReference")
