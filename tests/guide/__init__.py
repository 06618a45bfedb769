"""Tests of the implementation guide."""
