"""The Kubernetes API server: a store of objects and the HTTP API over TLS in front of it."""
