"""How properties are tried: without a deadline, because the first example compiles."""

from hypothesis import settings

settings.register_profile(
    "suite", deadline=None, max_examples=100, derandomize=True, print_blob=True
)
settings.load_profile("suite")
