"""What waits in quarantine: why, with what nearest, and its resource, to be imported again once somebody has decided.

https://hl7.org/fhir/R4/operationoutcome.html
"""

from collections.abc import Collection
from typing import Any

import msgspec

from fhir_dmp.errors import Issue
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.exchange.mapping import Unknown
from fhir_dmp.exchange.results import WAITS, Result
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.signing.seal import Message
from fhir_dmp.store.quarantine import Quarantine, Waiting
from fhir_dmp.store.resources import Store

IDENTITY, CODE, CONTENT = "identity", "code", "content"


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in quarantine. place: in the input. names: in its source. why: in words.

    codes: (element, "system|code", text, [(system, code, display)]) that nobody knows. people: (Patient/id, score, grade, by) who may be
    meant. body: JSON of the resource or Bundle, as it came; empty of a content that has not come yet, whose document waits.
    sealed: (signer, kid) of the message it came in, verified then.
    """

    place: str
    names: tuple[str, ...]
    why: str
    body: bytes
    codes: tuple[tuple[str, str, str, tuple[tuple[str, str, str], ...]], ...] = ()
    people: tuple[tuple[str, float, str, str], ...] = ()
    sealed: tuple[str, ...] = ()

    @property
    def item(self) -> Item:
        """To be imported again."""
        return Item(self.place, self.body, 0, sealed=self.sealed)

    @property
    def message(self) -> Message | None:
        """Who sealed the message it came in; None for nobody."""
        return Message(signer=self.sealed[0], kid=self.sealed[1]) if self.sealed else None


def of(store: Store, rules: Rules) -> Quarantine:
    """The quarantine of a source."""
    return Quarantine(store, rules.source, rules.dossier)


async def hold(
    quarantine: Quarantine, key: bytes, kind: str, held: Held, dossiers: Collection[int] = (), names: Collection[bytes] | None = None
) -> Result:
    """Keep it, and say so. dossiers, names: see Quarantine.put."""
    await quarantine.put(key, kind, msgspec.msgpack.encode(held), dossiers, names=names)
    nearest = "; ".join(f"nearest to `{text or local}`: {_named(targets)}" for _, local, text, targets in held.codes)
    told = f"{held.why}; {nearest}" if nearest else held.why
    return Result(held.place, WAITS, issues=(Issue("warning", "incomplete", f"in quarantine: {told}"),))


def _named(targets: tuple[tuple[str, str, str], ...]) -> str:
    return ", ".join(f"{code} {display}" for _, code, display in targets[:3])


def opened(waiting: Waiting) -> Held:
    """What waits."""
    return msgspec.msgpack.decode(waiting.body, type=Held)


def codes_of(unknown: list[Unknown]) -> tuple[Any, ...]:
    """Unknown codes as they are kept."""
    return tuple((one.element, one.local, one.text, tuple(tuple(target) for target in one.candidates)) for one in unknown)
