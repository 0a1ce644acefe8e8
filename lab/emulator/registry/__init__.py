"""The container registry: the OCI distribution API behind GitLab's token handshake."""
