"""What all tests share: a Hypothesis profile without deadlines, for machines that are busy."""

from hypothesis import settings

settings.register_profile("kvreplay", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("kvreplay")
