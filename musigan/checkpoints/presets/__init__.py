"""Settings of the presets, a YAML file each."""
