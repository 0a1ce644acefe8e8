"""The container registry: OCI distribution API, GitLab's tokens for it, and GitLab's REST API about it."""
