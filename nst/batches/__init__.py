"""Batches: many jobs in one command, and the report on them."""
