"""The vault: ids, hashes, keys and seals."""

import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_dmp.store import vault as v
from fhir_dmp.store.failures import Broken, Gone, StoreError
from fhir_dmp.store.vault import Vault

VAULT = Vault(bytes(range(32)))
OTHER = Vault(bytes(32))


@given(st.binary(min_size=16, max_size=16))
def test_every_row_key_has_one_id_and_comes_back_from_it(key):
    id = VAULT.seal_id(key)
    assert len(id) == 26 and id.isalnum() and id == id.lower()
    assert VAULT.open_id(id) == key == VAULT.locate("Patient", id)


def test_an_id_has_only_one_spelling():
    id = VAULT.seal_id(b"k" * 16)
    last = "abcdefghijklmnopqrstuvwxyz234567"
    spellings = [id[:-1] + character for character in last if VAULT.open_id(id[:-1] + character) == b"k" * 16]
    assert spellings == [id]
    for text in (id.upper(), id + "a", id[:-1], "", "é" * 26, "1" * 26, "patient-1"):
        assert VAULT.open_id(text) is None


def test_ids_of_one_dossier_look_random():
    ids = [VAULT.new_id(7) for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert all(v.dossier_in(VAULT.open_id(id)) == 7 for id in ids)
    for position in range(25):
        counted = Counter(id[position] for id in ids)
        assert len(counted) == 32 and max(counted.values()) < 130  # 62 expected, 9 standard deviations


def test_ids_are_made_of_the_random_bytes_given():
    assert VAULT.new_id(7, lambda n: b"r" * n) == VAULT.new_id(7, lambda n: b"r" * n)
    zeros_first = iter((bytes(8), b"12345678"))
    assert VAULT.open_id(VAULT.new_id(7, lambda n: next(zeros_first)))[8:] == b"12345678"
    assert VAULT.dossier_of_patient(VAULT.new_id(-5)) == -5
    dossiers = iter((bytes(8), b"\xff" * 8))
    assert VAULT.new_dossier(lambda n: next(dossiers)) == -1


def test_an_id_chosen_by_a_client_is_found_by_type_and_id():
    keys = {VAULT.locate("Patient", "p1"), VAULT.locate("Patient", "p2"), VAULT.locate("Observation", "p1"), OTHER.locate("Patient", "p1")}
    assert len(keys) == 4 and all(len(key) == 16 for key in keys)
    assert VAULT.dossier_of_patient("p1") == v.dossier_in(VAULT.locate("Patient", "p1"))


@given(st.integers(-(2**63), 2**63 - 1))
def test_versions_have_one_spelling(version):
    text = v.version_id(version)
    assert (len(text), v.version_of(text)) == (13, version)


def test_a_version_of_another_server_is_none_of_ours():
    for text in ("1", "", "A" * 13, "aaaaaaaaaaaab", "é" * 13):
        assert v.version_of(text) is None


def test_hashes_are_keyed():
    assert VAULT.hash64(b"x") == VAULT.hash64(b"x") != VAULT.hash64(b"y")
    assert VAULT.hash64(b"x") != OTHER.hash64(b"x")
    assert -(2**63) <= VAULT.hash64(b"x") < 2**63


@given(st.binary(max_size=60))
def test_tokens_come_back_only_for_their_purpose_and_unchanged(value):
    text = VAULT.seal_token(value, "cursor")
    assert VAULT.open_token(text, "cursor") == value
    assert VAULT.open_token(text, "other") is None
    assert OTHER.open_token(text, "cursor") is None
    changed = ("B" if text[0] == "A" else "A") + text[1:]
    assert VAULT.open_token(changed, "cursor") is None


def test_what_was_never_a_token_is_none():
    for text in ("", "a", "===", "é", "+/+/", "A" * 50, "a b"):
        assert VAULT.open_token(text, "cursor") is None


def test_a_sealed_body_opens_only_in_its_place():
    key = VAULT.dossier_key(7, VAULT.new_dossier_key(7))
    sealed = v.seal(key, b"body", b"place")
    assert v.unseal(key, sealed, b"place") == b"body"
    assert sealed != v.seal(key, b"body", b"place")
    for wrong in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:5], b""):
        with pytest.raises(Broken):
            v.unseal(key, wrong, b"place")
    with pytest.raises(Broken):
        v.unseal(key, sealed, b"elsewhere")


def test_a_dossier_key_opens_only_for_its_dossier_and_host():
    wrapped = VAULT.new_dossier_key(7)
    for vault, dossier in ((VAULT, 8), (OTHER, 7)):
        with pytest.raises(Broken):
            vault.dossier_key(dossier, wrapped)
    with pytest.raises(Gone):
        VAULT.dossier_key(7, None)


def test_opened_keys_are_kept_within_bounds():
    vault = Vault(os.urandom(32))
    wrapped = [vault.new_dossier_key(n) for n in range(v._OPENED_KEYS + 10)]
    for dossier, key in enumerate(wrapped):
        vault.dossier_key(dossier, key)
    assert len(vault._opened) == v._OPENED_KEYS


def test_the_host_key_is_made_once_and_for_its_owner_only(tmp_path):
    assert Vault.load(tmp_path) is None
    first, second = Vault.load_or_create(tmp_path), Vault.load_or_create(tmp_path)
    assert first.check == second.check == Vault.load(tmp_path).check
    path = tmp_path / "keys" / "host.key"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [file.name for file in path.parent.iterdir()] == ["host.key"]
    path.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        Vault.load(tmp_path)


def test_a_damaged_host_key_is_refused(tmp_path):
    Vault.load_or_create(tmp_path)
    (tmp_path / "keys" / "host.key").write_bytes(b"short")
    with pytest.raises(StoreError):
        Vault.load(tmp_path)


def test_subkeys_differ_by_purpose():
    assert VAULT.subkey("a") == VAULT.subkey("a") != VAULT.subkey("b")
    assert len(VAULT.subkey("a", 48)) == 48
