#!/bin/sh
# A first argument that is an option or a command of docker goes to docker. Without a socket, the daemon is the one called
# "docker": over TLS when there are certificates, on 2375 otherwise.
set -eu
if [ "${1#-}" != "${1:-}" ] || docker help "${1:-sh}" >/dev/null 2>&1; then
  set -- docker "$@"
fi
if [ -z "${DOCKER_HOST:-}" ] && [ ! -S /var/run/docker.sock ]; then
  if [ -n "${DOCKER_TLS_CERTDIR:-}" ] && [ -s "$DOCKER_TLS_CERTDIR/client/ca.pem" ]; then
    export DOCKER_HOST=tcp://docker:2376 DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH="$DOCKER_TLS_CERTDIR/client"
  else
    export DOCKER_HOST=tcp://docker:2375
  fi
fi
exec "$@"
