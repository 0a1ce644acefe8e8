"""A runner: asks GitLab for jobs over the runner protocol and runs them in a shell."""
