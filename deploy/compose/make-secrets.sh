#!/bin/sh
# Makes the secrets that compose.yaml mounts, each a file in ./secrets. What is there already stays.
#
# The folder can be entered by its owner only. The files in it are readable by all, because the users in the containers
# are others than on this machine.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
cd secrets

random() { LC_ALL=C tr -dc 'A-Za-z0-9' < /dev/urandom | head -c 40; }
make() { # name value
    if [ ! -e "$1" ]; then
        printf '%s' "$2" > "$1"
        chmod 444 "$1"
    fi
}

make postgres_password "$(random)"
make redis_password "$(random)"
make phoenix_secret_key "$(random)"
make phoenix_admin_password "$(random)"
make grafana_admin_password "$(random)"
make database_url "postgres://phoenix:$(cat postgres_password)@postgres:5432/phoenix"
make redis_url "redis://:$(cat redis_password)@redis:6379/0"
make redis_exporter_passwords "{\"redis://redis:6379\": \"$(cat redis_password)\"}"
echo "The administrator is admin@example.com; the password is in secrets/phoenix_admin_password."
