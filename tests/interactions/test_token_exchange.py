"""The token endpoint from inside: what it refuses is counted for each address, and traced where it says something of somebody."""

import asyncio

import pytest

from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.errors import FhirError
from fhir_dmp.identity.issuers import HostIssuer, trusted
from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.interactions import token_exchange
from fhir_dmp.interactions.login import Caller, Desk
from fhir_dmp.settings import load
from fhir_dmp.store import restored
from fhir_dmp.store.resources import Store
from tests.identity import making

MOST = 6
HERE, ELSEWHERE = Caller("192.0.2.1"), Caller("192.0.2.2")


@pytest.fixture
def private():
    """The key of AGENT, which stands for Pro Santé Connect."""
    return making.key()


@pytest.fixture
async def desk(mongod, data_dir, database, tmp_path, private):
    """A desk that trusts AGENT and counts to MOST."""
    (tmp_path / "jwks.json").write_text(making.jwks(private))
    store = await Store.open(mongod.uri, database, data_dir=data_dir, clock=lambda: making.NOW_MS)
    tokens = Tokens(HostIssuer(tmp_path), trusted(making.issuers_file(tmp_path), False, 600))
    yield Desk(store, load({"data": tmp_path, "login_address_attempts": MOST}, {}).settings, tokens, None, Recorder(store))
    await store.close()


async def status(desk, assertion, caller=HERE):
    try:
        await token_exchange.run(desk, assertion, scope="", client_id="", audiences=frozenset(), caller=caller)
    except FhirError as error:
        return error.status
    return 200


async def traces(desk):
    return await desk.store.count(types=("AuditEvent",))


async def test_what_is_no_jwt_leaves_no_trace(desk):
    for text in ("x", "a.b.c", "a" * 20_000, f"{making.part(b'[]')}.{making.part(b'{}')}.x"):
        assert await status(desk, text) == 401
    assert await traces(desk) == 0
    assert await status(desk, making.unsigned({"alg": "ES256", "typ": "JWT"}, making.professional(), b"x")) == 401
    assert await traces(desk) == 1


async def test_what_is_refused_is_counted_by_address_before_it_is_tried(desk, private):
    crowd = await asyncio.gather(*(status(desk, "x") for _ in range(MOST + 3)))
    assert sorted(crowd) == [401] * MOST + [429] * 3
    good = making.signed(making.professional(jti="j"), private)
    assert (await status(desk, good), await status(desk, good, ELSEWHERE)) == (429, 200)


async def test_what_is_granted_is_not_counted(desk, private):
    """All the users of a hospital may come from one address."""
    given = [await status(desk, making.signed(making.professional(jti=f"j{number}"), private)) for number in range(2 * MOST)]
    assert given == [200] * 2 * MOST
    assert await status(desk, making.signed(making.professional(jti="j0"), private)) == 401, "used before"


async def test_an_assertion_that_may_have_been_used_before_a_restore_is_refused(desk, private):
    def good(**changes):
        return making.signed(making.professional(**changes), private)

    await restored.note(desk.store.connection, making.NOW_MS - 120_000)
    assert await status(desk, good(jti="old", iat=making.NOW - 120)) == 401
    assert await status(desk, good(jti="undated", iat=None)) == 401
    assert await status(desk, good(jti="new")) == 200
    assert await status(desk, good(jti="later", iat=None, exp=making.NOW + 3590)) == 200, "it could not be used so early"
