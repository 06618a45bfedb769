"""Proof of who sent what, and that it was not changed since: host seal, message seal, author signature."""
