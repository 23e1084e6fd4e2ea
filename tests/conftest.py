"""Settings for all tests."""

from hypothesis import settings

# The machines that run these tests differ in speed; the same code is to give the same verdict everywhere.
settings.register_profile("musigan", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("musigan")
