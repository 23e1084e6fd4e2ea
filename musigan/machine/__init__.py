"""The machine that runs this: cores, devices, threads, seeds, what native libraries print."""
