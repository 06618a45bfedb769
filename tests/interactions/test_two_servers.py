"""Two server processes on one database keep the same promises as one. https://hl7.org/fhir/R4/http.html#concurrency"""

import asyncio

import httpx
import pytest

from tests.interactions.conftest import ENVIRONMENT
from tests.interactions.making import FHIR_JSON, basic, bundle, dumped, entry, identified, stored, unique
from tests.serving import serving


@pytest.fixture(scope="module")
def second(server, mongod):
    """Another server on the database and the keys of the first."""
    with serving(server.data.parent, "--mongodb-uri", mongod.uri, environment=ENVIRONMENT, name=server.data.name) as running:
        yield running


@pytest.fixture
async def both(server, second):
    """Sends to the two servers in turn: (method, path, number, body, headers) -> answer."""
    async with httpx.AsyncClient(timeout=120, headers={**server.auth, "content-type": FHIR_JSON}) as client:

        async def send(method: str, path: str, number: int, body: bytes | None = None, **headers: str) -> httpx.Response:
            base = (server, second)[number % 2].fhir
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, f"{base}/{path}" if path else base, content=body, headers=named)

        yield send


def test_what_one_writes_the_other_reads_at_once(fhir, second, server):
    made = fhir.new(basic())
    with httpx.Client(headers=server.auth) as other:
        assert other.get(f"{second.fhir}/{made.path}").json() == made.value
        assert other.delete(f"{second.fhir}/{made.path}").status_code == 204
    assert fhir.get(made.path).status_code == 410


async def test_of_concurrent_conditional_creates_one_creates(fhir, both):
    value = unique()
    body = dumped(identified("Patient", value))
    answers = await asyncio.gather(*(both("POST", "Patient", n, body, if_none_exist=f"identifier=urn:x-test|{value}") for n in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({stored(answer).path for answer in answers}) == 1
    assert fhir.get(f"Patient?identifier=urn:x-test|{value}").json()["total"] == 1


async def test_of_concurrent_transactions_with_one_condition_one_creates(fhir, both):
    value = unique()
    create = entry("POST", "Patient", identified("Patient", value), ifNoneExist=f"identifier=urn:x-test|{value}")
    answers = await asyncio.gather(*(both("POST", "", n, dumped(bundle("transaction", create))) for n in range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    assert fhir.get(f"Patient?identifier=urn:x-test|{value}").json()["total"] == 1


async def test_concurrent_writers_lose_no_update(fhir, both):
    made = fhir.new(basic())

    async def writer(number: int) -> int:
        read = await both("GET", made.path, number)
        value = read.json()
        value["identifier"] = [*value.get("identifier", []), {"value": f"{number}"}]
        return (await both("PUT", made.path, number, dumped(value), if_match=read.headers["etag"])).status_code

    outcomes = [status for _ in range(2) for status in await asyncio.gather(*(writer(number) for number in range(24)))]
    acknowledged = outcomes.count(200)
    assert set(outcomes) == {200, 412} and acknowledged >= 2
    assert fhir.get(f"{made.path}/_history").json()["total"] == 1 + acknowledged
    assert len(fhir.get(made.path).json()["identifier"]) == acknowledged
