#!/usr/bin/env python3
"""Check by hand that a trace stands in the journal: check_proof.py TRACE.json PROOF.json

TRACE.json is the answer of GET AuditEvent/ID, byte for byte; PROOF.json that of GET AuditEvent/ID/$proof.
RFC 6962 (Merkle tree), C2SP tlog-checkpoint (signed head). The library `cryptography` checks the signature.
"""

import base64
import hashlib
import hmac
import json
import sys

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def check(trace: bytes, proof: dict) -> None:
    """Raise AssertionError at the first thing that does not hold."""
    binary, text, path = {}, {}, []
    for one in proof["parameter"]:
        if one["name"] == "path":
            path.append(base64.b64decode(one["valueBase64Binary"]))
        elif "valueBase64Binary" in one:
            binary[one["name"]] = base64.b64decode(one["valueBase64Binary"])
        else:
            text[one["name"]] = one["valueString"]

    # 1. What the journal knows of the trace: a keyed hash of its bytes. Without the salt it tells nothing.
    committed = hmac.new(binary["salt"], trace, hashlib.sha256).digest()

    # 2. The leaf: its place (chain, number, row), then that hash.
    place = binary["chain"] + int(text["number"]).to_bytes(8, "big") + binary["row"]
    value = sha256(b"\x00" + place + committed)

    # 3. From the leaf to the root, along the path.
    node, last = int(text["index"]), int(text["size"]) - 1
    for beside in path:
        if node % 2 or node == last:
            value = sha256(b"\x01" + beside + value)
            while node and node % 2 == 0:
                node, last = node // 2, last // 2
        else:
            value = sha256(b"\x01" + value + beside)
        node, last = node // 2, last // 2
    assert last == 0 and value == binary["root"], "the path does not lead to the root"

    # 4. The root is the one the host signed: name of the log, size, root, time; then a blank line and the signature.
    note, _, signatures = text["checkpoint"].partition("\n\n")
    origin, size, root, *_ = note.split("\n")
    assert (size, base64.b64decode(root)) == (text["size"], binary["root"]), "the head speaks of another tree"
    signed = base64.b64decode(signatures.split()[-1])
    assert signed[:4] == sha256(binary["publicKey"])[:4], "another key signed"
    load_der_public_key(binary["publicKey"]).verify(signed[4:], f"{note}\n".encode(), ECDSA(SHA256()))
    print(f"trace {text['index']} of {text['size']} in the journal of {origin}: proven")


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as trace, open(sys.argv[2], "rb") as proof:
        check(trace.read(), json.load(proof))
