"""MuseGAN (arXiv 1709.06298) on the music's own time: instruments, each with a part of its own, bar after bar."""
