"""CycleGAN between two kinds of music: generators both ways, critics, and the pool of what was generated earlier."""
