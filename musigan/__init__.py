"""musigan: a folder of music in, new music out. The tools are thin; this library holds the thinking."""

__version__ = "0.1.0"
