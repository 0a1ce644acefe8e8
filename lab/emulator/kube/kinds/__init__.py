"""What each built-in kind has of its own: defaults, checks and what may not change."""
