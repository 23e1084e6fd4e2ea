"""MuseGAN (arXiv 1709.06298): generator, critic, and the layout of bars and tracks."""
