"""Calls of one deployment to another: shared, hedged, bounded, with partial results."""
