"""A dossier comes back to a host where something was done with it while another one had it: that holds, and it comes back all the same."""

import msgspec
import pytest

from fhir_dmp.fhir.instants import HOUR, MINUTE
from tests.access.test_restore import MASK
from tests.access.world import now
from tests.exchange import forging, test_package_hosts
from tests.exchange.test_package_again import Moving
from tests.exchange.test_package_hosts import told
from tests.exchange.test_package_property import Cut

hosts = test_package_hosts.hosts


def called(moving):
    """The holder changes his Patient at the host that has the dossier."""
    own = moving.owner.get(f"Patient/{moving.id}").json()
    assert moving.owner.put(f"Patient/{moving.id}", {**own, "telecom": [{"system": "phone", "value": "0600000000"}]}).status_code == 200


def died(moving):
    """His death is told to the host that gave the dossier away."""
    given = {"reason": "deceased", "date": now(days=-1)}
    answer = moving.giver.world.host("payeur").run(f"{moving.dossier.path}/$close", **given)
    assert answer.status_code == 200, answer.text


def back(moving):
    """The dossier comes back, and is closed where it was."""
    done = told(moving.take_back(moving.package_back()))
    asking = moving.taker.world.host(moving.giver.name)
    answer = asking.post("$export-dossier", done["receipt"].encode(), content_type="application/jose")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("acts", [(called, died), (died, called), (died,)])
def test_a_death_that_was_told_where_the_dossier_was_not_holds_when_it_comes_back(hosts, acts):
    moving = Moving(*hosts, ("un", ()))
    moving.settled()
    for act in acts:
        act(moving)
    back(moving)
    for asker in (moving.anna, moving.bruno, moving.holder):
        assert asker.get(moving.dossier.path).status_code == 403
    again = moving.giver.world.host("payeur").run(f"{moving.dossier.path}/$close", reason="deceased")
    assert again.json()["deceasedDateTime"][:10] == now(days=-1)[:10]
    assert moving.holder.run(f"{moving.dossier.path}/$reactivate").status_code in (403, 409)
    moving.giver.command("verify")


def test_what_its_holder_changed_before_the_receipt_came_does_not_keep_a_dossier_from_coming_back(hosts):
    moving = Moving(*hosts, ("un", ()))
    called(moving)
    moving.settled()
    back(moving)
    assert moving.bruno.get(f"DocumentReference/{moving.reports['un']['id']}").status_code == 200
    assert moving.holder.get(moving.dossier.path).json()["telecom"][0]["value"] == "0600000000"
    assert moving.holder.get(moving.dossier.path).json()["active"] is True


@pytest.mark.parametrize("lost_there", [False, True])
def test_a_dossier_whose_holder_lost_his_rights_comes_back_read_only_and_not_closed(hosts, lost_there):
    moving = Moving(*hosts, ("un", ()))
    for world, path in ((moving.giver.world, moving.dossier.path), (moving.taker.world, f"Patient/{moving.id}")):
        if lost_there is (world is moving.taker.world):
            answer = world.host("payeur").run(f"{path}/$close", reason="rights-lost")
            assert answer.status_code == 200, answer.text
        if world is moving.giver.world:
            moving.settled()
    back(moving)
    assert [one.get(f"DocumentReference?patient={moving.dossier.id}").status_code for one in (moving.holder, moving.bruno)] == [200, 403]
    recovered = moving.giver.world.host("payeur").run(f"{moving.dossier.path}/$reactivate", reason="rights-recovered")
    assert recovered.status_code == 200, recovered.text
    assert moving.bruno.get(f"DocumentReference?patient={moving.dossier.id}").json()["total"] == 1


def test_a_package_that_was_taken_before_takes_no_rights_that_were_recovered_since(hosts):
    moving = Moving(*hosts)
    lost = moving.giver.world.host("payeur").run(f"{moving.dossier.path}/$close", reason="rights-lost")
    assert lost.status_code == 200
    package = moving.package()
    assert moving.take(package).status_code == 200
    path = f"Patient/{moving.id}"
    assert moving.team.get(path).status_code == 403
    assert moving.taker.world.host("payeur").run(f"{path}/$reactivate", reason="rights-recovered").status_code == 200
    assert moving.owner.run(f"{path}/$close", reason="holder-request").status_code == 200
    moving.take(package)
    assert moving.owner.run(f"{path}/$reactivate").json()["active"] is True
    assert moving.team.get(path).status_code == 200


@pytest.mark.parametrize("open_here", [False, True])
def test_what_was_parted_here_comes_back_with_no_package(two, open_here):
    """Two dossiers were joined by mistake, given away as one, and parted here: what the other host did with them goes where it belongs."""
    cut = Cut(two)
    own, other = cut.documents(cut.ends), cut.documents(cut.goes_on)
    cut.ask("$merge")
    there = two.runner.run(two.move(0, 1, cut.goes_on.dossier.id))
    cut.ask("$unmerge")
    holder = two.world.holder(cut.ends.dossier)
    assert holder.run(f"{cut.ends.dossier.path}/$reactivate").status_code == 200
    if open_here:
        assert cut.goes_on.holder.run(f"{cut.goes_on.dossier.path}/$reactivate").status_code == 200
    (_, id), *_ = [one for one in cut.ends.reports if one[0] is cut.ends.anna]
    hidden = cut.pair.ids.key(two.stores[0].vault.open_id(id))

    async def masked():
        store = two.stores[1]
        row = await store.load(hidden)
        await store.transact(lambda within: within.relabel(row.dossier, row.visible["rt"], add=1, remove=0, at_ms=store.clock()))

    two.runner.run(masked())
    package = two.runner.run(two.give(1, 0, there))
    for _ in range(2):
        two.runner.run(two.take(0, 1, package))
        assert (cut.documents(cut.ends), cut.documents(cut.goes_on)) == (own, other)
        left = two.stores[0].connection.database["resources"].count_documents({"d": cut.pair.ids.target, "z": {"$exists": True}})
        assert two.runner.run(left) == 0
    assert "link" not in cut.goes_on.holder.get(cut.goes_on.dossier.path).json()
    # A mask that was set there is one here.
    assert any(MASK[0]["value"]["coding"][0]["code"] in str(one) for one in [holder.get(f"DocumentReference/{id}").json()["securityLabel"]])
    assert two.runner.run(two.sealed(0)) == []


def test_who_acts_for_a_child_keeps_no_copy_of_a_dossier_that_another_host_has(two):
    """What is hidden from him there, in a secret session say, is not hidden in the copy."""
    world, anna = two.world, two.world.professional()
    given, closed = (world.open(age=12, people=("MTH",), traitant=anna) for _ in range(2))
    reports = {one.id: world.deposit(one, anna) for one in (given, closed)}
    two.runner.run(two.move(0, 1, given.id))
    assert world.representative(closed).run(f"{closed.path}/$close", reason="holder-request").status_code == 200
    for dossier, expected in ((given, (403, 404, 403)), (closed, (200, 200, 200))):
        paths = dossier.path, f"DocumentReference/{reports[dossier.id]['id']}", f"{dossier.path}/$everything"
        assert tuple(world.representative(dossier).get(path).status_code for path in paths) == expected
    assert world.representative(given).run(f"{given.path}/$reactivate").status_code == 200


def test_a_grant_that_another_host_gave_lasts_no_longer_than_one_of_this_host(two):
    dossier = two.world.open(traitant=two.world.professional())
    parts = forging.opened(two.runner.run(two.give(0, 1, dossier.id)), two.b.data)
    store, kept = two.stores[1], msgspec.json.decode(parts["policy.json"])
    at_ms = store.clock()
    grants = {"long": (at_ms - MINUTE, at_ms + 24 * HOUR), "past": (0, at_ms + 24 * HOUR), "to come": (at_ms + HOUR, at_ms + 24 * HOUR)}
    kept["grants"] = [{"who": "ps:810009998887", "since_ms": since, "until_ms": until, "id": id} for id, (since, until) in grants.items()]
    sent = forging.closed({**parts, "policy.json": msgspec.json.encode(kept)}, two.a.data, two.b.data)
    two.runner.run(two.take(1, 0, sent))
    number = two.stores[0].vault.dossier_of_patient(dossier.id)
    policy = two.runner.run(store.policies({number}))[number]
    assert {one.id: one.until_ms <= store.clock() + HOUR for one in policy.grants} == {"long": True, "to come": True}
