"""HiChat in small: one page with messages, kept in Redis. Standard library only, so that it builds without a network."""
