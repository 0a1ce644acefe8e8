"""Engines make endpoints exist: a GitLab, a runner, a Kubernetes cluster and an Argo CD."""
