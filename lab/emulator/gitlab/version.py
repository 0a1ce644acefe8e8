"""The GitLab version that the emulator answers like."""

VERSION = "19.3.0"
REVISION = "emulator"
