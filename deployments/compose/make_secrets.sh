#!/bin/sh
# Makes the secrets of docker-compose.prefect.yml, each in a file of its own. What is there already is never changed, so it
# may be run again. README.md beside this file says what each is for.
set -eu

folder=${1:-$(dirname -- "$0")/secrets}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"   # keeps others on this machine out; the files are open because users in containers have other ids
cd "$folder"
made=0

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# put NAME: standard input into the file NAME, without a line end, unless it is there.
put() {
    if [ -e "$1" ]; then
        cat >/dev/null
        return
    fi
    tr -d '\n' >".$1.new"
    chmod 444 ".$1.new"
    mv ".$1.new" "$1"
    made=$((made + 1))
}

random | put redis_password
random | put postgres_password
random | put prefect_db_password
random | put graph_password
redis=$(cat redis_password)
printf 'user default on #%s ~* &* +@all\nuser health on nopass resetkeys -@all +ping\n' \
    "$(printf %s "$redis" | sha256sum | cut -d ' ' -f 1)" >.users
[ -e redis_users ] || { chmod 444 .users && mv .users redis_users && made=$((made + 1)); }
rm -f .users
printf 'neo4j/%s' "$(cat graph_password)" | put neo4j_auth

printf 'redis://:%s@redis:6379/0' "$redis" | put organism_redis_url
printf 'redis://:%s@redis-cache:6379/0' "$redis" | put organism_cache_url
printf 'redis://:%s@prefect-redis:6379/0' "$redis" | put prefect_messaging_url
printf 'redis://:%s@prefect-redis:6379/1' "$redis" | put prefect_docket_url
printf 'postgresql://organism:%s@timescaledb:5432/organism' "$(cat postgres_password)" | put organism_postgres_url
printf 'postgresql+asyncpg://prefect:%s@prefect-db:5432/prefect' "$(cat prefect_db_password)" | put prefect_db_url
cat graph_password | put organism_graph_password
random | put organism_pseudonym_key
random | put organism_audit_key
printf 'organism:%s' "$(random)" | put prefect_auth
head -c 32 /dev/urandom | base64 | tr '+/' '-_' | put prefect_encryption_key

# One for each way to be told; an empty file means: not this way.
for channel in slack_webhook_url slack_bot_token slack_signing_secret sentry_dsn alert_smtp_url alert_webhook_url alert_webhook_secret; do
    printf '' | put "$channel"
done
echo "secrets in $(pwd): $made made, $(($(ls | wc -l) - made)) kept"
