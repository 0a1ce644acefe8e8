#!/bin/sh
# Options alone are redis-server's. It listens on every address, as the official image's does.
set -e
if [ $# -eq 0 ] || [ "${1#-}" != "$1" ]; then
  set -- redis-server "$@"
fi
if [ "$1" = redis-server ]; then
  shift
  echo "This is a stand-in for redis:8.2.3-alpine" >&2
  set -- redis-server --protected-mode no "$@"
fi
exec "$@"
