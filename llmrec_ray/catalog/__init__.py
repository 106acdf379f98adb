"""Catalogue in: described files → clean items, their passage texts, past events."""
