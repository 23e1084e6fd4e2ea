"""Rolls to pictures."""
