"""MIDI files to rolls and back."""
