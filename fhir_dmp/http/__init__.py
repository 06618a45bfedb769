"""Thin routes, headers, answers, portal pages."""
