"""Packages that are not what they should be are refused whole; a dossier closes only when its new host has it as it is."""

import io
import json
import time

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import hosts, transfer
from fhir_dmp.signing import box
from fhir_dmp.store.records import Source
from fhir_dmp.store.takeover import versions
from tests.exchange.moving import Played
from tests.exchange.test_package_property import Cut


@pytest.fixture
def played(two):
    return Played(two.world, [("deposit", "anna", ()), ("deposit", "anna", ("MASQUE_PS",))])


def refusal(two, work):
    """The error that something asked of the hosts ends with."""
    with pytest.raises(FhirError) as caught:
        two.runner.run(work)
    return caught.value


def test_a_package_opens_for_its_receiver_alone_and_only_unchanged(two, played):
    package = two.runner.run(two.give(0, 1, played.dossier.id))
    assert b"compte rendu" not in package and played.dossier.ins.encode() not in package
    assert "another host" in refusal(two, two.take(0, 1, package)).message
    body = package.index(b"\n", len(box.MAGIC)) + 1
    for changed in (
        package[:-1],
        package + b"x",
        package[: body + 100] + bytes([package[body + 100] ^ 1]) + package[body + 101 :],
        package[: len(box.MAGIC)] + package[body:],
        b"",
    ):
        error = refusal(two, two.take(1, 0, changed))
        assert (error.kind, error.message.startswith("the package cannot be taken: ")) == ("business-rule", True)
    done = two.runner.run(two.take(1, 0, package))
    assert done.counts["DocumentReference"] == 2


def test_what_its_host_did_not_sign_is_refused(two, played):
    """Somebody who can encrypt to the receiver, as everybody can, makes a package of his own."""
    package = two.runner.run(two.give(0, 1, played.dossier.id))
    opened = box.Opening(io.BytesIO(package), box.own_key(two.b.data))
    plain = opened.read()
    forged = io.BytesIO()
    closing = box.Closing(forged, box.own_public(two.b.data))
    closing.write(plain.replace(b'"status":"current"', b'"status":"CURRENT"'))
    closing.close()
    assert "manifest" in refusal(two, two.take(1, 0, forged.getvalue())).message
    same = io.BytesIO()
    closing = box.Closing(same, box.own_public(two.b.data))
    closing.write(plain)
    closing.close()
    assert two.runner.run(two.take(1, 0, same.getvalue())).counts["Patient"] == 1


def test_a_dossier_that_changed_meanwhile_is_not_closed_and_what_is_new_follows(two, played):
    first = two.runner.run(two.take(1, 0, two.runner.run(two.give(0, 1, played.dossier.id))))
    late = played.world.deposit(played.dossier, played.anna)
    error = refusal(two, two.settle(0, 1, first.receipt))
    assert (error.kind, "changed since" in error.message) == ("conflict", True)
    assert played.anna.get(f"DocumentReference/{late['id']}").status_code == 200
    second = two.runner.run(two.take(1, 0, two.runner.run(two.give(0, 1, played.dossier.id))))
    assert (second.patient, second.counts["DocumentReference"]) == (first.patient, 3)
    assert 0 < second.new < first.new
    two.runner.run(two.settle(0, 1, second.receipt))
    assert played.anna.get(f"DocumentReference/{late['id']}").status_code == 404


def test_a_receipt_of_somebody_else_closes_nothing(two, played):
    done = two.runner.run(two.take(1, 0, two.runner.run(two.give(0, 1, played.dossier.id))))
    first, middle, last = done.receipt.split(".")
    for receipt in ("x", f"{first}.{middle}.{last[:-4]}AAAA", two.plain(0).seals.sign_as("dmp-receipt+jws", b"{}")):
        assert refusal(two, two.settle(0, 1, receipt)).kind == "business-rule"
    assert played.anna.get(played.dossier.path).status_code == 200


def test_who_has_the_dossier_alone_gives_it_to_a_third_host(two, played):
    """What was hidden there since is not here."""
    ready = two.runner.run(two.take(2, 0, two.runner.run(two.give(0, 2, played.dossier.id))))
    there = two.runner.run(two.move(0, 1, played.dossier.id))
    error = refusal(two, transfer.announce(two.giving(0, 2), played.dossier.id, "host-c"))
    assert (error.kind, "that one gives it away" in error.message) == ("conflict", True)
    assert refusal(two, two.settle(0, 2, ready.receipt)).kind == "conflict"
    # To whom it was given it is given again; and it comes back.
    two.runner.run(transfer.announce(two.giving(0, 1), played.dossier.id, "host-b"))
    two.runner.run(two.move(1, 0, there))
    assert played.holder.get(played.dossier.path).json()["active"] is True


def test_a_dossier_that_was_joined_is_given_away_by_no_command(two, played):
    ends = Played(two.world, [("deposit", "anna", ())])
    given = {"source-patient": {"reference": ends.dossier.path}}
    merging = two.world.operator().run(f"{played.dossier.path}/$merge", **given)
    assert merging.status_code == 200, merging.text
    error = refusal(two, transfer.announce(two.giving(0, 1), ends.dossier.id, "host-b"))
    assert (error.kind, "joined to another one" in error.message) == ("conflict", True)

    async def listed():
        return {one async for one in transfer.dossiers(two.giving(0, 1))}

    found = two.runner.run(listed())
    assert played.dossier.id in found and ends.dossier.id not in found


@pytest.mark.parametrize("step", ["stage", "hide"])
def test_a_dossier_that_is_half_joined_or_half_parted_is_not_given_away(two, step):
    """What is out of sight would be met by nobody at the host that takes it."""
    cut = Cut(two)
    if step == "hide":
        cut.ask("$merge")
    else:
        two.runner.run(cut.close())
    ready = two.runner.run(two.take(1, 0, two.runner.run(two.give(0, 1, cut.goes_on.dossier.id))))
    two.runner.run(getattr(cut, step)())
    there = cut.goes_on.dossier.id
    error = refusal(two, transfer.announce(two.giving(0, 1), there, "host-b"))
    assert (error.kind, "that comes first" in error.message) == ("conflict", True)
    assert refusal(two, two.settle(0, 1, ready.receipt)).kind == "conflict"
    cut.ask("$merge" if step == "stage" else "$unmerge")
    two.runner.run(transfer.announce(two.giving(0, 1), there, "host-b"))


def test_hosts_are_known_by_their_cards(two):
    async def registered(card):
        await hosts.register(two.stores[0], "some-host", card)

    own = hosts.own(two.stores[1], two.b.data)
    for card in ({}, {"host": "x"}, {**json.loads(json.dumps({"host": own.host, "name": "", "seals": [], "packages": {}, "journal": {}}))}):
        assert refusal(two, registered(card)).kind == "invalid"
    assert two.runner.run(Source.get("some-host")) is None
    assert refusal(two, two.giving(0, 1) and hosts.card_of("nobody")).kind == "business-rule"


# ---- $export-dossier


def recipient(host):
    """What the operation is asked with."""
    identifier = {"system": "https://fhir-dmp.example.org/fhir/sid/host", "value": host}
    given = [{"name": "recipient", "valueIdentifier": identifier}, {"name": "reason", "valueString": "déménagement"}]
    return {"resourceType": "Parameters", "parameter": given}


def test_the_holder_asks_for_his_package(two, played):
    holder = played.world.holder(played.dossier)
    where = f"{played.dossier.path}/$export-dossier"
    asked = holder.post(where, recipient("host-b"))
    assert asked.status_code == 202, asked.text
    place = asked.headers["content-location"]
    for _ in range(200):
        answer = holder.get(place)
        if answer.status_code != 202:
            break
        time.sleep(0.2)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.fhir-dmp.package"
    assert played.anna.get(place).status_code == 404
    done = two.runner.run(two.take(1, 0, answer.content))
    assert done.counts["DocumentReference"] == 2
    assert holder.delete(place).status_code == 202
    assert holder.get(place).status_code == 404


def test_who_may_not_export_is_refused(two, played):
    where = f"{played.dossier.path}/$export-dossier"
    for asker in (played.anna, played.nurse, played.world.structure(), played.world.support(), played.world.operator()):
        assert asker.post(where, recipient("host-b")).status_code == 403, asker.kind
    assert played.world.holder(played.dossier).post(where, recipient("nobody")).status_code == 422


def test_a_dossier_is_not_said_to_be_given_to_a_host_that_nobody_knows(two, played):
    number = two.stores[0].vault.dossier_of_patient(played.dossier.id)

    async def traces():
        return sum([one.row.type == "AuditEvent" async for one in versions(two.stores[0], number)])

    before = two.runner.run(traces())
    error = refusal(two, transfer.announce(two.giving(0, 1), played.dossier.id, "nobody"))
    assert (error.kind, two.runner.run(traces())) == ("business-rule", before)
    two.runner.run(transfer.announce(two.giving(0, 1), played.dossier.id, "host-b"))
    assert two.runner.run(traces()) == before + 1
