#!/bin/sh
# Runs the command, with the database's password from the file that PGPASSWORD_FILE names.
set -eu
if [ -n "${PGPASSWORD_FILE:-}" ]; then
    PGPASSWORD=$(cat "$PGPASSWORD_FILE")
    export PGPASSWORD
fi
exec "$@"
