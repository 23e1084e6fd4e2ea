"""Rolls to sound: oscillators, timbres, instruments, drums."""
