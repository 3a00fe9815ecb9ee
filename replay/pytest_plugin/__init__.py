"""For pytest: matrix files as tests, and a fixture for tests of one's own allocators."""

SUFFIX = ".kvmatrix.toml"
