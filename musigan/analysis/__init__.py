"""Sound to rolls: band loudness, cleaning, and the steps from a recording to an item of keys."""
