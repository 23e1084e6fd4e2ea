"""Bars: the default model, which thinks in beats."""
