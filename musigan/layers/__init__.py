"""Building blocks of networks: packing, convolution, attention, gates, what critics share."""
