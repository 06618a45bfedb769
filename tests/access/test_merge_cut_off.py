"""Dossiers that were being joined, or parted, when somebody was cut off: what else is joined to the same one shows nothing of them.

ig/decisions/0014: what is staged is met by nobody until the act that shows it.
"""

from datetime import date

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.interactions import merging, unmerging
from tests.access import world as making
from tests.access.test_authorisation_rows import Family
from tests.worlds import people

NAMES = ("first", "second", "goes on")


class Three:
    """Three dossiers with a document each."""

    def __init__(self, runner, host) -> None:
        self.families = {name: Family(runner, host, date(1950, 1, 1)) for name in NAMES}
        for name, one in self.families.items():
            one.cast |= people.staff(host)
            value = people.document(one.id, one.cast["hospital"], people.REPORT, making.number(), at=making.now(), description=name)
            assert one.send("hospital", "POST", "DocumentReference", value).status == 201

    def asked(self, operation: str, ends: str) -> int:
        """An administrator joins, or parts, one of them and the one that goes on; the status."""
        body = making.parameters(**{"source-patient": {"reference": self.families[ends].path}})
        goes_on = self.families["goes on"]
        return goes_on.send("admin", "POST", f"{goes_on.path}/{operation}", body).status

    def shown(self) -> set[str]:
        """What the médecin traitant of the dossier that goes on finds in it."""
        goes_on = self.families["goes on"]
        found = goes_on.send("traitant", "GET", f"DocumentReference?patient={goes_on.id}").value()
        assert found["total"] == len(found.get("entry", ()))
        return {one["resource"]["description"] for one in found.get("entry", ())}


@pytest.fixture
def three(runner, host):
    return Three(runner, host)


def cut_off(monkeypatch, module, step: str, act):
    """An act of which one step, and what follows it, is not done."""

    async def never(*given, **more):
        raise FhirError("transient", "cut off")

    with monkeypatch.context() as patched:
        patched.setattr(module, step, never)
        assert act() == 503


def test_what_was_staged_for_one_is_not_shown_with_another(three, monkeypatch):
    cut_off(monkeypatch, merging, "shown", lambda: three.asked("$merge", "first"))
    assert three.shown() == {"goes on"}
    assert three.asked("$merge", "second") == 200
    assert three.shown() == {"goes on", "second"}
    assert three.asked("$merge", "first") == 200
    assert three.shown() == set(NAMES)
    for one in ("first", "second"):
        assert three.asked("$unmerge", one) == 200
    assert three.shown() == {"goes on"}


def test_what_is_being_taken_out_is_not_shown_with_another(three, monkeypatch):
    assert three.asked("$merge", "first") == 200
    cut_off(monkeypatch, unmerging, "_parted", lambda: three.asked("$unmerge", "first"))
    assert three.shown() == {"goes on"}
    assert three.asked("$merge", "second") == 200
    assert three.shown() == {"goes on", "second"}
    assert three.asked("$unmerge", "first") == 200
    assert three.shown() == {"goes on", "second"}


def test_who_was_cut_off_parting_two_may_join_them_again(three, monkeypatch):
    assert three.asked("$merge", "first") == 200
    cut_off(monkeypatch, unmerging, "_parted", lambda: three.asked("$unmerge", "first"))
    assert three.asked("$merge", "first") == 200
    assert three.shown() == {"goes on", "first"}
