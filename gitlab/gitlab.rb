# GitLab's configuration, which becomes /etc/gitlab/gitlab.rb. A template: external_url, registry_url, and by the lab's size:
# puma_workers, sidekiq_concurrency, shared_buffers.
#
# GitLab reads this file last: what stands here beats the environment variable GITLAB_OMNIBUS_CONFIG. The root password is not
# here; it is given to the first start as GITLAB_ROOT_PASSWORD and means nothing afterwards.

## Addresses

# The one address of GitLab, in every link, clone URL and webhook. GitLab's web server listens on this very port inside the
# container, so the container publishes it unchanged (8929:8929). Port 8080 is taken inside.
external_url '${external_url}'

# The container registry on a port of its own, without TLS. Clients are sent to external_url for a token, so they must reach
# both. Port 5000 is taken inside.
registry_external_url '${registry_url}'

letsencrypt['enable'] = false

## Behaviour

# Settings made through the API count at once; normally each process remembers the old ones for up to a minute.
gitlab_rails['application_settings_cache_seconds'] = 0

# Who may ask /-/health and /-/readiness. A request from the host arrives from the container network's gateway, and whoever is
# not on this list gets an empty 404.
gitlab_rails['monitoring_whitelist'] = ['127.0.0.0/8', '::1/128', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16']

# No mail leaves the lab, and no statistics do.
gitlab_rails['gitlab_email_enabled'] = false
gitlab_rails['usage_ping_enabled'] = false

## The size of the lab: https://docs.gitlab.com/omnibus/settings/memory_constrained_envs/

# Web processes beside the first; 0 is one process that does everything, enough for a classroom of one.
puma['worker_processes'] = ${puma_workers}
puma['exporter_enabled'] = false
sidekiq['concurrency'] = ${sidekiq_concurrency}
sidekiq['metrics_enabled'] = false
postgresql['shared_buffers'] = '${shared_buffers}'

# Prometheus, Alertmanager and the exporters: about 300 MB.
prometheus_monitoring['enable'] = false

# The agent server for Kubernetes: Argo CD does this work here.
gitlab_kas['enable'] = false

# Give memory back sooner.
gitlab_rails['env'] = { 'MALLOC_CONF' => 'dirty_decay_ms:1000,muzzy_decay_ms:1000' }
gitaly['env'] = {
  'MALLOC_CONF' => 'dirty_decay_ms:1000,muzzy_decay_ms:1000',
  'GITALY_COMMAND_SPAWN_MAX_PARALLEL' => '2'
}
