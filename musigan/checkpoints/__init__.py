"""What a run is and where it is kept: settings, presets, the checkpoint file."""
