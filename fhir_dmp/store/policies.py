"""Policies of dossiers as they are kept: sealed under the key of the dossier, in its row.

https://profiles.ihe.net/ITI/PCF/

A policy is read in every request. What is kept is only the opened form of bytes that were read just now: equal bytes, the same policy.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_dmp.consent.dossier import Dossier, pack, unpack
from fhir_dmp.store.vault import dossier_row, seal, unseal

FIELD = "p"
# Two kilobytes each: a worker is to stay below 300 MB.
_KEPT = 8_192
_opened: OrderedDict[bytes, Dossier] = OrderedDict()


def sealed(policy: Dossier, dossier: int, key: AESGCM) -> bytes:
    """A policy for the row of its dossier."""
    return seal(key, pack(policy), b"policy" + dossier_row(dossier))


def opened(document: Mapping[str, Any] | None, dossier: int, key: AESGCM | None) -> Dossier | None:
    """The policy in the row of a dossier; None when there is none, when the dossier was erased, or when it is of another format."""
    data = None if document is None or key is None else document.get(FIELD)
    if data is None:
        return None
    found = _opened.get(data)
    if found is None:
        try:
            found = unpack(unseal(key, data, b"policy" + dossier_row(dossier)))
        except ValueError:
            return None  # whoever asks compiles it anew
        if len(_opened) >= _KEPT:
            _opened.popitem(last=False)
        _opened[data] = found
    return found
