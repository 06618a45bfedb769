"""What the routes of one worker share.

Made by `app.create`; the store is opened when the worker starts and closed when it stops.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fhir_dmp.consent.law import LAW, Law
from fhir_dmp.http.metrics import Metrics
from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.settings import Settings
from fhir_dmp.signing.keys import SealKeys
from fhir_dmp.signing.message import Signers

if TYPE_CHECKING:
    from fhir_dmp.audit.recorder import Recorder
    from fhir_dmp.store.resources import Store


def now_ms() -> int:
    """UTC, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Services:
    """settings, tokens, metrics, seals, signers: for the life of the worker. store: None until it is open; recorder: of traces, with it.
    law: what this host decides.
    reading_bytes: size of the bodies that are being received now. began_ms: when the worker started, UTC.

    clock: UTC milliseconds. random: n -> n random bytes. Both are arguments so that tests can fix them.
    """

    settings: Settings
    tokens: Tokens
    metrics: Metrics
    clock: Callable[[], int] = now_ms
    random: Callable[[int], bytes] = os.urandom
    store: "Store | None" = None
    recorder: "Recorder | None" = None
    seals: SealKeys | None = None
    signers: Signers = field(default_factory=lambda: Signers(None))
    law: Law = LAW
    reading_bytes: int = 0
    began_ms: int = field(default_factory=now_ms)
