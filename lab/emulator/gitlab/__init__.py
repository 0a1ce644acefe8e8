"""GitLab: its REST API, git over HTTP, webhooks and web pages."""
