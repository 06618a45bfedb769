"""What stands in for what is not there is judged as what is hidden is, to the end. access-rules 6"""

import time

import pytest

from fhir_dmp.consent.asking import Request
from fhir_dmp.consent.decide import decide
from fhir_dmp.consent.law import LAW
from fhir_dmp.interactions import facts, standing_in
from fhir_dmp.interactions.enforcement import Enforcer, Known

ASKERS = {
    "masked": Request(kind="professional", person="ps:810001234567", professions=frozenset({"G15|10"})),
    "hidden-from-patient": Request(kind="patient", patient="b" * 26),
}


class Asking:
    """What is asked of a context here. Hashes are fixed, as they are in a store."""

    class store:
        class vault:
            @staticmethod
            def hash64(data: bytes) -> int:
                return int.from_bytes(data[:7].ljust(7, b"\0"))

    def __init__(self, request: Request) -> None:
        self.enforcer = Enforcer(request)


@pytest.mark.parametrize("rule", ASKERS)
def test_the_document_that_stands_in_is_hidden_by_a_label(rule):
    """Not refused before: the rules are gone through as far as for a document that is hidden."""
    context = Asking(ASKERS[rule])
    policy = standing_in.of(context)
    (document,) = facts.opened(context, standing_in.document())
    found = decide(context.enforcer.request, policy, document, time.time_ns() // 1_000_000, LAW)
    assert (found.effect, found.rule) in {("hide", rule), ("hide", "habilitation")}


@pytest.mark.parametrize("rule", ASKERS)
def test_standing_in_gives_nothing_and_leaves_nothing(rule):
    context = Asking(ASKERS[rule])
    met = Known(context, 0, context.enforcer.request, standing_in.of(context), 0, LAW)
    assert standing_in.hidden(met) is None and standing_in.refused(met) is None
    ledger = context.enforcer.ledger
    assert not ledger.disclosed and not ledger.kept and not ledger.addressed and not ledger.patient
