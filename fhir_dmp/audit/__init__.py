"""Traces: events, chain, recorder."""
