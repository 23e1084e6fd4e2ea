"""Beats and downbeats of recordings: features, a small network, a decoder; and annotations in text files."""
