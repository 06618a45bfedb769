"""Tokens, issuers, actors."""
