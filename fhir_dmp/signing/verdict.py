"""What verifying a proof came to: passed, indeterminate or failed, and why.

https://www.etsi.org/deliver/etsi_en/319100_319199/31910201/ (section 5.1.3: TOTAL-PASSED, INDETERMINATE, TOTAL-FAILED)
"""

from collections.abc import Iterable
from typing import NamedTuple

PASSED, INDETERMINATE, FAILED = "passed", "indeterminate", "failed"
_WORST = (FAILED, INDETERMINATE, PASSED)


class Verdict(NamedTuple):
    """status: PASSED, INDETERMINATE or FAILED. reasons: in plain words, at least one."""

    status: str
    reasons: tuple[str, ...]


def passed(*reasons: str) -> Verdict:
    return Verdict(PASSED, reasons)


def indeterminate(*reasons: str) -> Verdict:
    return Verdict(INDETERMINATE, reasons)


def failed(*reasons: str) -> Verdict:
    return Verdict(FAILED, reasons)


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """Of several proofs of one thing: as good as the worst of them, with the reasons of all.

    >>> together([passed("a"), indeterminate("b")])
    Verdict(status='indeterminate', reasons=('a', 'b'))
    """
    listed = list(verdicts)
    worst = min((one.status for one in listed), key=_WORST.index)
    return Verdict(worst, tuple(dict.fromkeys(reason for one in listed for reason in one.reasons)))
