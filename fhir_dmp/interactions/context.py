"""What an interaction knows of the request it serves, and what it answers.

https://hl7.org/fhir/R4/http.html
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.consent.access import require_scope
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.tables import known_type
from fhir_dmp.identity.actor import Actor
from fhir_dmp.settings import Settings
from fhir_dmp.signing.keys import SealKeys
from fhir_dmp.signing.seal import Message
from fhir_dmp.store.reading import Reader
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Content
from fhir_dmp.store.transaction import Transaction

if TYPE_CHECKING:
    from fhir_dmp.interactions.enforcement import Enforcer


@dataclass(slots=True, eq=False)
class Context:
    """One request, seen from inside. Never changed: another one is made of it. (One that says so is made in three times the time.)

    base_url: address of [base], no slash at the end. now_ms: UTC milliseconds. random: n -> n random bytes; ids come from it.
    lenient: Prefer: handling=lenient. explain: tell how a search was done. language: en or fr, of what is told to people.
    importing: what other hosts recorded comes in, their traces too.
    transaction: the MongoDB transaction the interaction takes part in, if any. enforcer: who asks the rules; None for the `system` tokens
    of a sandbox, who meet none. recorder: of traces, None where nothing is traced. seals: keys that what is written is sealed with, None
    where nothing is. message: the one that came. request_id: X-Request-Id. client_address: IP or name. election: which primary was there
    before anything was read, None where that is not asked; see Store.elected.
    """

    store: Store
    actor: Actor
    settings: Settings
    base_url: str
    now_ms: Callable[[], int]
    random: Callable[[int], bytes]
    lenient: bool = False
    explain: bool = False
    language: str = "en"
    importing: bool = False
    transaction: Transaction | None = None
    enforcer: "Enforcer | None" = None
    recorder: Recorder | None = None
    seals: SealKeys | None = None
    message: Message | None = None
    request_id: str = ""
    client_address: str = ""
    election: object | None = None

    @property
    def sandbox(self) -> bool:
        """True in a store for conformance suites: plain FHIR, ids may be chosen by clients, references may dangle."""
        return self.store.sandbox

    @property
    def reads(self) -> Reader:
        """Where to read: the transaction, which sees its own writes, else the store."""
        return self.store if self.transaction is None else self.transaction

    def inside(self, transaction: Transaction) -> "Context":
        """The same request, taking part in a transaction."""
        return self.but(transaction=transaction)

    def but(self, **changes: Any) -> "Context":
        """The same with some of it replaced; that of the library takes four times as long, and a deposit asks for it several times."""
        made = Context(*_all_of(self))
        for name, value in changes.items():
            setattr(made, name, value)
        return made


_all_of = attrgetter(*(each.name for each in fields(Context)))


class Answer(msgspec.Struct, frozen=True):
    """What leaves.

    body: JSON or content bytes, None when there is none. version: public versionId. updated_ms: UTC milliseconds.
    location: "Type/id/_history/version". content: octets of a large Binary, which `body` then leaves out.
    explained: how a search was done, where that was asked for.
    """

    status: int
    body: bytes | None = None
    version: str | None = None
    updated_ms: int | None = None
    location: str | None = None
    content: Content | None = None
    explained: dict | None = None


def unread(context: Context, type_name: str, answer: Answer) -> Answer:
    """The answer to a change, without the resource where the scopes of the token do not let it be read."""
    return answer if context.actor.allows(type_name, "r") else msgspec.structs.replace(answer, body=None, content=None)


# Types that only the server itself writes: nobody adds to the traces or takes from them.
KEPT = frozenset({"AuditEvent"})


def admit(context: Context, type_name: str | None, letter: str) -> None:
    """Refuse a type the standard does not know, and an interaction the token's scopes leave out. letter: one of c r u d s."""
    if type_name is not None and not known_type(type_name):
        raise FhirError("not-found", f"`{type_name[:64]}` is not a FHIR R4 resource type")
    if type_name in KEPT and letter in "cud" and not (context.actor.kind == "system" or context.importing):
        raise FhirError("method", f"{type_name} is written by the server alone", headers={"Allow": "GET, HEAD"})
    require_scope(context.actor, type_name, letter)
