"""Losses: pure functions of tensors to a scalar, without weights; the training loop weights them by name."""
