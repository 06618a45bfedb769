"""Issuers: the file of trusted ones, key sets, the host's own key. https://www.rfc-editor.org/rfc/rfc7517"""

import asyncio
import json
import stat
import time
import urllib.error

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.identity import issuers
from fhir_dmp.identity.issuers import HostIssuer, public_keys, trusted
from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.settings import SettingError
from tests.identity.making import NOW_MS, issuers_file, jwks, key, professional, signed


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": []}, "algorithms"),
        ({"kinds": ["root"]}, "kinds"),
        ({"jwks": "http://idp.example.org/jwks"}, "jwks"),
        ({"jwks": "file:///etc/passwd"}, "jwks"),
        ({"jwks": "absent.json"}, "jwks"),
        ({"issuer": ""}, "issuer"),
        ({"audience": ["a"]}, "audience"),
        ({"more": 1}, "nothing else"),
    ],
)
def test_wrong_issuers_file_is_refused_in_clear_words(tmp_path, changes, word):
    (tmp_path / "jwks.json").write_text(jwks(key()))
    with pytest.raises(SettingError, match=word):
        trusted(issuers_file(tmp_path, **changes), sandbox=False, jwks_seconds=600)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"issuer": "a", "issuer": "b"}]', "not json"])
def test_file_that_is_not_a_list_of_issuers_is_refused(tmp_path, text):
    path = tmp_path / "issuers.json"
    path.write_text(text)
    with pytest.raises(SettingError):
        trusted(path, sandbox=False, jwks_seconds=600)


def test_two_issuers_of_one_name_are_refused(tmp_path):
    (tmp_path / "jwks.json").write_text(jwks(key()))
    (one,) = trusted(issuers_file(tmp_path), sandbox=False, jwks_seconds=600)
    with pytest.raises(SettingError, match="two"):
        Tokens(HostIssuer(tmp_path / "d"), (one, one))


def test_key_set_gives_public_signing_keys_only():
    pair = key("mine")
    secret = {"kty": "oct", "kid": "s", "k": "AAAA"}
    encrypting = {**key("enc").as_dict(private=False), "use": "enc"}
    nameless = {k: v for k, v in key("x").as_dict(private=False).items() if k != "kid"}
    found = public_keys(json.dumps({"keys": [pair.as_dict(private=True), secret, encrypting, nameless]}).encode())
    assert list(found) == ["mine"] and not found["mine"].is_private


@pytest.mark.parametrize("text", ["{}", "[]", '{"keys": {}}', "not json"])
def test_damaged_key_sets_are_refused(text):
    with pytest.raises(ValueError):
        public_keys(text.encode())


# A point that is not on its curve, a curve that nobody here knows, one that no algorithm here takes, a member that is absent.
STRANGE = [
    {"kty": "EC", "kid": "a", "crv": "P-256", "x": "AA", "y": "AA"},
    {"kty": "EC", "kid": "a", "crv": "BP-256", "x": "AA", "y": "AA"},
    {"kty": "OKP", "kid": "a", "crv": "Ed2000", "x": "AA"},
    {"kty": "EC", "kid": "a", "crv": "P-256"},
    {"kty": "RSA", "kid": "a", "n": 3, "e": "AQAB"},
]


@pytest.mark.parametrize("strange", STRANGE)
def test_keys_that_are_not_understood_are_left_out(strange):
    assert list(public_keys(json.dumps({"keys": [strange, *json.loads(jwks(key("k2")))["keys"]]}).encode())) == ["k2"]


@pytest.mark.parametrize("strange", STRANGE)
def test_a_file_without_a_key_that_verifies_is_refused_in_clear_words_at_the_start(tmp_path, strange):
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [strange]}))
    with pytest.raises(SettingError, match="none of its keys"):
        trusted(issuers_file(tmp_path), sandbox=False, jwks_seconds=600)


@pytest.mark.parametrize("strange", STRANGE)
async def test_a_key_that_is_not_understood_keeps_no_other_in_force_that_was_withdrawn(tmp_path, strange):
    first, second = key("k1"), key("k2")
    (tmp_path / "jwks.json").write_text(jwks(first))
    tokens = Tokens(HostIssuer(tmp_path / "d"), trusted(issuers_file(tmp_path), sandbox=False, jwks_seconds=600))
    token = signed(professional(), first)
    await tokens.verify(token, NOW_MS)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [*json.loads(jwks(second))["keys"], strange]}))
    later = NOW_MS + 2_000
    await tokens.verify(signed(professional(), second), later)
    for withdrawn in (token, signed(professional(jti="another"), first)):
        with pytest.raises(FhirError) as caught:
            await tokens.verify(withdrawn, later)
        assert caught.value.status == 401


def test_kid_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        public_keys(jwks(key("a"), key("a")).encode())


def test_host_issuer_keeps_its_name_and_its_key_is_private(tmp_path):
    first, second = HostIssuer(tmp_path / "d"), HostIssuer(tmp_path / "d")
    assert (first.issuer, first.audience, first.signing.kid) == (second.issuer, second.audience, second.signing.kid)
    path = tmp_path / "d" / "keys" / "tokens.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "d" not in first.jwks()["keys"][0]
    assert HostIssuer(tmp_path / "other").issuer != first.issuer


def test_host_key_that_others_can_read_is_refused(tmp_path):
    HostIssuer(tmp_path)
    (tmp_path / "keys" / "tokens.json").chmod(0o640)
    with pytest.raises(SettingError, match="read by others"):
        HostIssuer(tmp_path)


async def test_a_forgotten_key_that_comes_back_with_a_copy_of_the_file_serves_nobody(tmp_path):
    host = HostIssuer(tmp_path)
    tokens = Tokens(host)
    old = tokens.issue("feed", {}, now_ms=NOW_MS, random=bytes)
    before = host.path.read_bytes()
    new = host.rotate(forget=True)
    beside = json.dumps({**json.loads(before), "keys": [*_keys(host.path.read_bytes()), *_keys(before)]}).encode()
    # A backup of the keys is put back under a server, and before another one starts.
    for back in (before, beside):
        host.path.write_bytes(back)
        started = HostIssuer(tmp_path)
        for one in (Tokens(started), tokens):
            with pytest.raises(FhirError) as caught:
                await one.verify(old, NOW_MS + 2000)
            assert caught.value.status == 401
        assert len(started.keys) == 1 and (new in started.keys) == (back is not before)
        token = tokens.issue("feed", {}, now_ms=NOW_MS, random=bytes)
        assert await Tokens(HostIssuer(tmp_path)).verify(token, NOW_MS)
    assert [key["kid"] for key in _keys(before)] == list(host.forgotten())
    assert stat.S_IMODE((host.path.parent / issuers.FORGOTTEN_FILE).stat().st_mode) == 0o600


async def test_a_running_server_follows_when_the_file_of_its_keys_is_replaced_by_an_older_one(tmp_path):
    host = HostIssuer(tmp_path)
    tokens = Tokens(host)
    before = host.path.read_bytes()
    host.rotate(forget=True)
    good = tokens.issue("feed", {}, now_ms=NOW_MS, random=bytes)
    assert await tokens.verify(good, NOW_MS)
    host.path.write_bytes(before)
    await host.refresh(NOW_MS + 5000)
    assert host.signing is not None and not {key["kid"] for key in _keys(before)} & set(host.keys)


def test_keys_are_forgotten_by_their_names_too(tmp_path):
    """As the store remembers them where the folder of keys is that of a backup."""
    host = HostIssuer(tmp_path)
    first = host.signing.kid
    second = host.rotate(forget=False)
    host.forget({first, "another"})
    assert list(host.keys) == [second] == [host.signing.kid]
    HostIssuer(tmp_path).forget({second})
    host.load()
    assert host.forgotten() == {first, second, "another"} and host.signing.kid not in host.forgotten()


def _keys(raw):
    return json.loads(raw)["keys"]


class Web:
    """Stands for the issuer's site: what it serves now, and how often it was asked."""

    def __init__(self, text):
        self.text, self.asked = text, 0

    def __call__(self, url):
        assert url == "https://idp.example.org/jwks"
        self.asked += 1
        if isinstance(self.text, Exception):
            raise self.text
        return self.text.encode()


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A store that trusts an issuer over https, and the issuer's site."""
    private = key()
    web = Web(jwks(private))
    monkeypatch.setattr(issuers, "fetch", web)
    path = issuers_file(tmp_path, jwks="https://idp.example.org/jwks")
    return Tokens(HostIssuer(tmp_path / "d"), trusted(path, sandbox=False, jwks_seconds=600)), web, private


async def test_keys_are_fetched_at_first_use_and_kept(remote):
    tokens, web, private = remote
    assert web.asked == 0
    for number in range(3):
        await tokens.verify(signed(professional(jti=str(number)), private), NOW_MS)
    assert web.asked == 1
    await tokens.verify(signed(professional(exp=NOW_MS), private), NOW_MS + 601_000)
    assert web.asked == 2


async def test_unknown_kid_asks_again_but_not_often(remote):
    tokens, web, private = remote
    await tokens.verify(signed(professional(), private), NOW_MS)
    fresh = key("k2")
    for second in (1, 2, 3):
        with pytest.raises(FhirError) as caught:
            await tokens.verify(signed(professional(), fresh), NOW_MS + second * 1000)
        assert caught.value.status == 401
    assert web.asked == 1
    web.text = jwks(private, fresh)
    await tokens.verify(signed(professional(), fresh), NOW_MS + 31_000)
    assert web.asked == 2


async def test_known_tokens_are_dropped_when_the_site_withdraws_the_key(remote):
    tokens, web, private = remote
    token = signed(professional(exp=NOW_MS // 1000 + 7200), private)
    await tokens.verify(token, NOW_MS)
    web.text = jwks(key("k2"))
    await tokens.verify(token, NOW_MS + 599_000)
    with pytest.raises(FhirError):
        await tokens.verify(token, NOW_MS + 601_000)


async def test_site_that_is_down_gives_503_at_first_and_costs_nothing_later(remote):
    tokens, web, private = remote
    token = signed(professional(exp=NOW_MS // 1000 + 10 * 86_400), private)
    web.text = urllib.error.URLError("down")
    for _ in range(3):
        with pytest.raises(FhirError) as caught:
            await tokens.verify(token, NOW_MS)
        assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "30")
    assert web.asked == 1
    web.text = jwks(private)
    await tokens.verify(token, NOW_MS + 31_000)
    web.text = urllib.error.URLError("down")
    assert await tokens.verify(token, NOW_MS + 3_600_000)
    with pytest.raises(FhirError):
        await tokens.verify(token, NOW_MS + 2 * 86_400_000)


async def test_who_comes_while_keys_are_fetched_waits_for_them(remote, monkeypatch):
    tokens, web, private = remote

    def slowly(url):
        time.sleep(0.2)
        return web(url)

    monkeypatch.setattr(issuers, "fetch", slowly)
    for at_ms, pair in ((NOW_MS, private), (NOW_MS + 31_000, key("k2"))):
        web.text = jwks(private, pair) if pair is not private else jwks(private)
        asked = [tokens.verify(signed(professional(jti=str(number)), pair), at_ms) for number in range(5)]
        assert len(await asyncio.gather(*asked)) == 5
    assert web.asked == 2
