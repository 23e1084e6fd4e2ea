"""This machine: cores, devices, threads, seeds, what native libraries print."""
