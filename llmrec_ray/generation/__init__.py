"""Generations: from what was learned to immutable, activated objects, and back."""
