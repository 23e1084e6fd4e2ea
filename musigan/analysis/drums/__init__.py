"""Drums of recordings: a small network hears strokes of a kit, and how loud they are is measured (docs/drums.md)."""
