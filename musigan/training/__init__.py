"""Training: objectives define what is minimised, one loop runs them, a checkpoint holds everything."""
