# The part of the official PostgreSQL image's entry point that a chart relies on: the first start makes the cluster
# from POSTGRES_USER, POSTGRES_PASSWORD (or POSTGRES_PASSWORD_FILE), POSTGRES_DB; then PostgreSQL is process 1.
set -eu
programs=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
export PATH="$programs:$PATH"
user=${POSTGRES_USER:-postgres}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA" || :
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); fi
    : "${POSTGRES_PASSWORD:?is not set: the superuser needs a password}"
    printf %s "$POSTGRES_PASSWORD" >/tmp/password
    initdb -U "$user" --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync
    rm /tmp/password
    echo 'host all all 0.0.0.0/0 scram-sha-256' >>"$PGDATA/pg_hba.conf"
    if [ "${POSTGRES_DB:-$user}" != postgres ]; then
        echo "CREATE DATABASE \"${POSTGRES_DB:-$user}\"" | postgres --single -E -j postgres
    fi
fi
if [ "${1:-postgres}" = postgres ]; then
    [ $# -eq 0 ] || shift
    exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off "$@"
fi
exec "$@"
