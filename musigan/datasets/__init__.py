"""Stores to batches: random crops of rolls, their conditions, several kinds of music."""
