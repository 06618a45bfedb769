"""The Merkle log: hashes as RFC 6962 defines them, proofs that hold, and none that holds for anything else."""

import os
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_dmp.audit import chain
from fhir_dmp.audit.chain import Position, Subtree
from fhir_dmp.audit.checkpoint import Head, Signer, opened

# Inputs of the test suite of Certificate Transparency; the roots are computed below by the definition alone.
INPUTS = tuple(map(bytes.fromhex, ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")))


def mth(data) -> bytes:
    """RFC 6962 2.1, word for word."""
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = 1
    while 2 * k < len(data):
        k *= 2
    return sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data) -> list[bytes]:
    """RFC 6962 2.1.1, word for word."""
    if len(data) == 1:
        return []
    k = 1
    while 2 * k < len(data):
        k *= 2
    return [*path(m, data[:k]), mth(data[k:])] if m < k else [*path(m - k, data[k:]), mth(data[:k])]


def subproof(m: int, data, b: bool) -> list[bytes]:
    """RFC 6962 2.1.2, word for word."""
    if m == len(data):
        return [] if b else [mth(data)]
    k = 1
    while 2 * k < len(data):
        k *= 2
    return [*subproof(m, data[:k], b), mth(data[k:])] if m <= k else [*subproof(m - k, data[k:], False), mth(data[:k])]


def hashes(data) -> list[bytes]:
    return [chain.leaf_hash(one) for one in data]


def test_known_roots():
    assert chain.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert chain.leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert chain.root(hashes(INPUTS)).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@pytest.mark.parametrize("size", range(len(INPUTS) + 1))
def test_small_trees_follow_the_definition(size):
    assert chain.root(hashes(INPUTS[:size])) == mth(INPUTS[:size])


@given(st.lists(st.binary(max_size=8), max_size=70), st.integers(0, 70))
def test_a_tree_grows_to_the_same_root_whatever_the_steps(data, cut):
    first = chain.append((), 0, hashes(data[:cut]))
    assert chain.fold(chain.append(first, len(data[:cut]), hashes(data[cut:]))) == mth(data)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=70), st.data())
def test_inclusion_proofs_are_those_of_the_definition_and_prove_nothing_else(data, draw):
    index = draw.draw(st.integers(0, len(data) - 1))
    proof = [mth(data[a:b]) for a, b in chain.inclusion_ranges(index, len(data))]
    assert proof == path(index, data)
    leaf, root = chain.leaf_hash(data[index]), mth(data)
    assert chain.is_included(leaf, index, len(data), proof, root)
    assert not chain.is_included(chain.leaf_hash(data[index] + b"!"), index, len(data), proof, root)
    assert not chain.is_included(leaf, index, len(data), [*proof, root], root)
    assert not proof or not chain.is_included(leaf, index, len(data), proof[:-1], root)
    other = draw.draw(st.integers(0, len(data) - 1))
    if data[other] != data[index]:
        assert not chain.is_included(leaf, other, len(data), proof, root)


@given(st.lists(st.binary(max_size=8), max_size=70), st.data())
def test_consistency_proofs_are_those_of_the_definition_and_prove_nothing_else(data, draw):
    old = draw.draw(st.integers(0, len(data)))
    proof = [mth(data[a:b]) for a, b in chain.consistency_ranges(old, len(data))]
    assert proof == (subproof(old, data, True) if 0 < old < len(data) else [])
    assert chain.is_consistent(old, len(data), mth(data[:old]), mth(data), proof)
    altered = [*data]
    if old:
        altered[draw.draw(st.integers(0, old - 1))] += b"!"
        assert not chain.is_consistent(old, len(data), mth(altered[:old]), mth(data), proof)
        assert not chain.is_consistent(old, len(data), mth(data[:old]), mth(altered), proof)


@given(st.integers(0, 5000), st.integers(0, 5000), st.data())
def test_stored_subtrees_cover_every_range_a_proof_asks_for(a, b, draw):
    old, size = sorted((a, b))
    ranges = list(chain.consistency_ranges(old, size))
    if size:
        ranges += chain.inclusion_ranges(draw.draw(st.integers(0, size - 1)), size)
    for start, end in ranges:
        parts = chain.cover(start, end)
        assert [(p.index << p.level, (p.index + 1) << p.level) for p in parts] == _tiles(start, parts, end)


def _tiles(start, parts, end):
    out = []
    for part in parts:
        out.append((start, start + (1 << part.level)))
        start += 1 << part.level
    assert start == end
    return out


def test_completed_subtrees_are_the_roots_of_their_leaves():
    leaves = [sha256(str(n).encode()).digest() for n in range(70_000)]
    known = {Subtree(0, n): leaf for n, leaf in enumerate(leaves)}
    for start, end in ((0, 100), (100, 300), (300, 1024), (1024, 65_535), (65_535, 65_536), (65_536, 70_000)):
        known |= chain.completed(start, leaves[start:end], known.__getitem__)
    stored = {tree: value for tree, value in known.items() if tree.level}
    assert set(stored) == {*(Subtree(8, n) for n in range(70_000 >> 8)), Subtree(16, 0)}
    assert all(value == chain.root(leaves[t.index << t.level : (t.index + 1) << t.level]) for t, value in stored.items())


def test_a_commitment_tells_nothing_without_its_salt():
    body = b'{"resourceType":"AuditEvent"}'
    assert chain.commitment(os.urandom(16), body) != chain.commitment(os.urandom(16), body)
    place = Position(bytes(16), 0, bytes(16))
    assert chain.leaf_data(place, bytes(32)) != chain.leaf_data(place._replace(number=1), bytes(32))


def test_a_checkpoint_opens_under_its_key_and_name_only():
    signer, other = Signer(bytes(32), "dmp.example.org/journal"), Signer(b"\1" * 32, "dmp.example.org/journal")
    head = Head(12, os.urandom(32), 1_790_000_000_123)
    text = signer.checkpoint(head)
    assert opened(text, signer.origin, signer.public) == head
    assert opened(text, signer.origin, other.public) is None
    assert opened(text, "another.example.org", signer.public) is None
    assert opened(text.replace("\n12\n", "\n13\n"), signer.origin, signer.public) is None
    assert opened(text.replace("time 2026", "time 2025"), signer.origin, signer.public) is None
    assert opened("", signer.origin, signer.public) is None


def test_a_key_is_the_same_after_a_restart():
    assert Signer(bytes(32), "a").public == Signer(bytes(32), "a").public != Signer(b"\1" * 32, "a").public
