"""Music files to samples and back: decoding, encoding, tags, mastering."""
