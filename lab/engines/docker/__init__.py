"""The Docker engine: real GitLab, runner, k3d cluster and Argo CD as containers; one module per component.

address     which engine, found as Docker's own client finds it
daemon      the only door to the docker SDK
site        what every component works with: settings, state, daemon, names, labels
component   what a component is
network, gitlab, runner, cache, cluster, argocd_install   the components
engine      all of them together
"""
