"""What the parts of a Bundle were shown and did, together.

https://hl7.org/fhir/R4/http.html#transaction
"""

from fhir_dmp.interactions.request_ledger import Ledger


def test_a_part_is_told_of_whom_it_named_unless_it_wrote():
    """What wrote has a trace that is hidden with what it wrote; another one beside it would tell whom that is hidden from."""
    whole, wrote, counted, nobody = Ledger(), Ledger(patient="a", written=True), Ledger(patient="b"), Ledger()
    shown = Ledger(patient="c", disclosed={"d": {("Observation", "o", "v"): None}})
    for part, words in ((wrote, "POST x/$act"), (counted, "GET y"), (counted, "GET y"), (shown, "GET z"), (nobody, "")):
        whole.add(part, words)
    assert (whole.asked, whole.written, whole.patient) == ({"b": ["GET y"], "d": ["GET z"]}, True, "c")


def test_nothing_of_a_part_is_forgotten():
    """What it did is kept outside of the database once it is committed, what it named is told when it is refused."""
    whole = Ledger(acts=frozenset({1}))
    part = Ledger(acts=frozenset({2, 3}), addressed={("Observation", "o"): None}, kept=({"lb": 1},))
    whole.add(part)
    assert whole.acts == {1, 2, 3}
    assert (whole.addressed, whole.kept, whole.asked) == ({("Observation", "o"): None}, ({"lb": 1},), {})
