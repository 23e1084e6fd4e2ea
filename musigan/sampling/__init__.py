"""Checkpoints to music: drawing, going on from a song, accompanying, translating."""
