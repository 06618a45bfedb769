"""Tests of rights over real HTTP, in stores for real use."""
