"""Training: objectives say what is minimised, one loop runs them, a checkpoint holds everything."""
