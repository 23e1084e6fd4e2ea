"""The door for `python -m musigan`: every tool under one name, wherever the scripts were installed."""

from musigan_tools.musigan import main

if __name__ == "__main__":
    main()
