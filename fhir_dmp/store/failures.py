"""What the store refuses, as values: conflicts, destroyed dossiers, a store that is not there.

https://hl7.org/fhir/R4/http.html#concurrency
"""

import functools
import struct
from collections.abc import Awaitable, Callable

from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    PyMongoError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from fhir_dmp.errors import FhirError


class StoreError(Exception):
    """The store cannot be started or opened; the message tells the operator why, in plain words."""


class Conflict(FhirError):
    """A write met another version than it expected; nothing of its commit was done.

    index: place of the failing write in the commit. current: version found there, None when there is no row.
    """

    def __init__(self, index: int, current: int | None, message: str = "the resource was changed meanwhile") -> None:
        super().__init__("conflict", message)
        self.index, self.current = index, current


class AlreadyExists(Conflict):
    """A create met a row with the same key."""

    def __init__(self, index: int, current: int | None = None) -> None:
        super().__init__(index, current, "a resource with this id exists already")


class Gone(FhirError):
    """The key of the dossier was destroyed: what was in it can no longer be read, nothing can be added."""

    def __init__(self) -> None:
        super().__init__("deleted", "the dossier was erased")


class Broken(FhirError):
    """A stored row or content does not open: changed, cut short or moved outside the server."""

    def __init__(self, message: str) -> None:
        super().__init__("exception", message)


# What comes of reading a row that somebody changed by hand.
UNREADABLE = (Broken, KeyError, TypeError, ValueError, AttributeError, struct.error)

# Writing failed for the moment: the client may repeat. 91 and after: a primary stepping down, 262 a time limit.
TRANSIENT = (ConnectionFailure, NetworkTimeout, WaitQueueTimeoutError, WTimeoutError, ExecutionTimeout)
TRANSIENT_CODES = {6, 7, 89, 91, 112, 189, 251, 262, 10058, 10107, 11600, 11602, 13435, 13436}
# What the driver says of a member that has just lost its place; each that we are connected to has sessions, see Connection.check_server.
NO_SESSIONS = "essions are not supported"
# What MongoDB does not hold as one transaction, by its size or in its memory: it would be the same again.
TOO_LARGE_CODES = {257, 388}
TRANSIENT_LABELS = ("TransientTransactionError", "UnknownTransactionCommitResult", "RetryableWriteError")


def is_transient(error: BaseException) -> bool:
    """True when repeating the same call later may succeed."""
    if isinstance(error, TRANSIENT) or is_sessionless(error):
        return True
    return isinstance(error, PyMongoError) and (
        not _codes(error).isdisjoint(TRANSIENT_CODES) or any(error.has_error_label(label) for label in TRANSIENT_LABELS)
    )


def _codes(error: PyMongoError) -> set[int | None]:
    """What MongoDB says by numbers. A bulk write has one of its own, which says nothing: those of its writes tell."""
    if isinstance(error, BulkWriteError):
        return {one.get("code") for one in (error.details or {}).get("writeErrors") or ()}
    return {getattr(error, "code", None)}


def is_sessionless(error: BaseException) -> bool:
    """True when a connection was met that has no sessions."""
    return isinstance(error, ConfigurationError) and NO_SESSIONS in str(error)


def unavailable() -> FhirError:
    return FhirError("transient", "the store is not available at the moment, please repeat", headers={"Retry-After": "2"})


class NotKept(FhirError):
    """An act is done, and the disk does not take it: 503. Why and where is for the people of this host, as the text of this; clients are
    told nothing of the machine.
    """

    def __init__(self, why: str) -> None:
        told = unavailable()
        super().__init__(told.kind, told.message, headers=told.headers)
        self._why = why

    def __str__(self) -> str:
        return self._why


def translated(method: Callable[..., Awaitable]) -> Callable[..., Awaitable]:
    """Methods of the store speak of FHIR: an absent database becomes 503, what is too large for one transaction 413, all else passes."""

    @functools.wraps(method)
    async def call(*args, **kwargs):
        try:
            return await method(*args, **kwargs)
        except PyMongoError as error:
            if is_transient(error):
                raise unavailable() from error
            if not _codes(error).isdisjoint(TOO_LARGE_CODES):
                raise FhirError("too-long", "this is more than can be stored at once: send it in several parts") from error
            raise

    return call
