#!/bin/sh
# Without arguments, or with options only: dockerd on its socket and on TCP. DOCKER_TLS_CERTDIR decides between 2376 with
# certificates, made here, and plain 2375. Anything else is run as it is, beside an explicit "dockerd ...".
set -eu

certificate() { # name, subject alternative names, usage
  mkdir -p "$DOCKER_TLS_CERTDIR/$1"
  openssl req -newkey rsa:2048 -nodes -keyout "$DOCKER_TLS_CERTDIR/$1/key.pem" -subj "/CN=docker:dind $1" \
    -out "$DOCKER_TLS_CERTDIR/$1/csr.pem" 2>/dev/null
  printf 'subjectAltName=%s\nextendedKeyUsage=%s\n' "$2" "$3" > "$DOCKER_TLS_CERTDIR/$1/extensions"
  openssl x509 -req -in "$DOCKER_TLS_CERTDIR/$1/csr.pem" -CA "$DOCKER_TLS_CERTDIR/ca/cert.pem" \
    -CAkey "$DOCKER_TLS_CERTDIR/ca/key.pem" -days 825 -extfile "$DOCKER_TLS_CERTDIR/$1/extensions" \
    -out "$DOCKER_TLS_CERTDIR/$1/cert.pem" 2>/dev/null
  cp "$DOCKER_TLS_CERTDIR/ca/cert.pem" "$DOCKER_TLS_CERTDIR/$1/ca.pem"
}

certificates() {
  [ -s "$DOCKER_TLS_CERTDIR/server/cert.pem" ] && return
  mkdir -p "$DOCKER_TLS_CERTDIR/ca"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$DOCKER_TLS_CERTDIR/ca/key.pem" -subj "/CN=docker:dind CA" -days 825 \
    -out "$DOCKER_TLS_CERTDIR/ca/cert.pem" 2>/dev/null
  certificate server "DNS:$(hostname),DNS:docker,DNS:localhost,IP:127.0.0.1" serverAuth
  certificate client "DNS:client" clientAuth
}

if [ $# -eq 0 ] || [ "${1#-}" != "$1" ]; then
  if [ -n "${DOCKER_TLS_CERTDIR:-}" ]; then
    certificates
    set -- dockerd --host=unix:///var/run/docker.sock --host=tcp://0.0.0.0:2376 --tlsverify \
      --tlscacert "$DOCKER_TLS_CERTDIR/server/ca.pem" --tlscert "$DOCKER_TLS_CERTDIR/server/cert.pem" \
      --tlskey "$DOCKER_TLS_CERTDIR/server/key.pem" "$@"
  else
    set -- dockerd --host=unix:///var/run/docker.sock --host=tcp://0.0.0.0:2375 "$@"
  fi
fi
if [ "$1" = dockerd ]; then
  echo "This is a stand-in for docker:29.7.2-dind, with $(dockerd --version)" >&2
  find /run /var/run -iname 'docker*.pid' -delete 2>/dev/null || true # left by a container that was killed
  set -- tini -s -- dind "$@"
fi
exec "$@"
