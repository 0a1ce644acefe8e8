"""An emulator of GitLab, its registry and runner, Kubernetes and Argo CD on loopback.

A library of its own: it imports nothing else of ``lab`` and neither python-gitlab nor the kubernetes
client, because an emulator that shares code with its clients proves nothing.

The component groups talk to each other only over the network, as the real systems do:

    gitlab      REST, git over HTTP, CI server, registry and its tokens, web pages
    runner      asks for jobs over the runner protocol and runs them in a shell
    kubernetes  API server, controllers, kubelet, ingress, and Argo CD, which lives in the cluster
"""
