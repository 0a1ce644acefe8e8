"""HiChat in small: one page with messages, kept in Redis. Standard library only: it builds without a network."""
