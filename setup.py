"""Which packages are installed: those under musigan/, and tools/ under a name that nobody else's package has."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["musigan", "musigan.*"]), "musigan_tools"])
