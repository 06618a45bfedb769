"""Doors of a dossier: who adds to it goes through one of them, who closes it shuts all. So each of the two meets the other.

https://www.mongodb.com/docs/manual/core/transactions-production-consideration/#in-progress-transactions-and-write-conflicts

Of two transactions of which one adds rows, and the other reads all rows to close what they are in, neither hinders the other: what was
decided on before would be stored, and acknowledged, in a dossier that was compared and given away meanwhile. They must write one thing. It
is not one thing for all who add: these would hinder each other.
"""

import random
from collections.abc import Iterable

from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.store.vault import Vault

# Two who add to one dossier at the same moment meet once in so many times, of four any two do once in three: who meets begins again. Each
# door that was used is a row for an hour: with more of them fewer meet, and a dossier that much is added to leaves more rows.
DOORS = 16
# In the row of a dossier: it is closed, and nothing is added any more.
SHUT = "sh"


def some(vault: Vault, dossiers: Iterable[int]) -> list[bytes]:
    """What who adds to these dossiers claims: a door of each, the same of all, so that many in common meet no oftener than one."""
    number = random.randrange(DOORS)
    return [_door(vault, dossier, number) for dossier in dossiers]


def every(vault: Vault, dossier: int) -> list[bytes]:
    """What who closes a dossier claims."""
    return [_door(vault, dossier, number) for number in range(DOORS)]


def shuts(policy: Dossier) -> bool:
    """Whether nothing is deposited any more: it is closed. What comes late of a dead person still is, until another host has it."""
    return policy.status is Status.CLOSED and (policy.deceased_ms is None or bool(policy.given))


def _door(vault: Vault, dossier: int, number: int) -> bytes:
    return vault.hash64(b"door\0" + bytes([number]) + dossier.to_bytes(8, "big", signed=True)).to_bytes(8, "big", signed=True)
