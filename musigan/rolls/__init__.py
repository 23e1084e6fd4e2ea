"""What a roll is: keyboard, key settings, shape, tracks, loudness, runs, notes, beats."""
