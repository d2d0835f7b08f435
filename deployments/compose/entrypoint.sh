#!/bin/sh
# Prefect reads its settings from the environment only, so each file prefect_* in the folder of secrets becomes a variable:
# prefect_api_auth_string -> PREFECT_API_AUTH_STRING. A variable that is set already wins. Our own settings read the files
# themselves. Then the command takes the place of this script, so that signals reach it.
set -eu

for file in "${ORGANISM_SECRETS_DIR:-/run/secrets}"/prefect_*; do
    [ -f "$file" ] || continue
    [ -r "$file" ] || { echo "entrypoint: $file cannot be read by user $(id -u); see deployments/compose/README.md" >&2; exit 1; }
    name=$(basename "$file" | tr '[:lower:]' '[:upper:]')
    eval "set_already=\${$name+yes}"
    [ -n "$set_already" ] || export "$name=$(cat "$file")"
done
for name in ${NEEDED_SECRETS:-}; do
    eval "value=\${$name:-}"
    [ -n "$value" ] || { echo "entrypoint: $name is not set and there is no secret for it; run deployments/compose/make_secrets.sh" >&2; exit 1; }
done
exec "$@"
