"""MuseGAN (arXiv 1709.06298) in seconds, bars of 2 s: generator, critic, and the layout of bars and tracks."""
