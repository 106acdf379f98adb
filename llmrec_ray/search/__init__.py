"""Queries in, the best rows of a shard out: exact scores, filters, merging."""
