"""GitLab CI, the server's side: ``.gitlab-ci.yml``, pipelines, and the runner protocol."""
