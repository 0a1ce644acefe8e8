"""The Docker engine: real GitLab, runner, k3d cluster and Argo CD as containers; one module per component.

address     which engine, found as Docker's own client finds it
daemon      the only door to the docker SDK
site        what every component works with: settings, state, daemon, names, labels
component   what a component is
pins        the table of images; references, images, mirrors: what lab.yaml makes of it
pull        one image on its way; store: the images that are here, and whose they are
downloads   the files that are no images; fetching: one file over HTTP
stock       images for nodes and builds, put into the cache; layout: as a registry keeps them
bundle      all of it in one file; bundle_file: its format; supplies: the tasks around it
sizes       presets by the memory that Docker has
network, gitlab, runner, cache, cluster, argocd_install   the components
engine      all of them together
"""
