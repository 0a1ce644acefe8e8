"""The ``docker`` command of emulated jobs: builds and pushes real OCI images without an engine."""
