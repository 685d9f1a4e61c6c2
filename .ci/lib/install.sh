# Functions of the scripts that install as a user does. Sourced, from the root of the repository, with `set -euo pipefail`.
# shellcheck shell=bash disable=SC2034 # they read the variables

started=()
scratch=$(mktemp -d)
clean_up() {
    [[ ${#started[@]} == 0 ]] || kill "${started[@]}" 2> /dev/null || true
    # A worker may still write.
    rm -rf "$scratch" 2> /dev/null || { sleep 5 && rm -rf "$scratch"; }
}
trap clean_up EXIT

check() {
    local what=$1
    shift
    "$@" || { echo "FAILED: $what: $*" >&2; exit 1; }
    echo "ok: $what"
}

# Starts .ci/lib/servers.mjs; `posthog`, `model` and `files` are then their addresses.
start_servers() {
    mkdir -p "$scratch/servers"
    : > "$scratch/servers/events.jsonl"
    node .ci/lib/servers.mjs "$scratch/servers" "$@" &
    started+=($!)
    wait_for "the servers" 10 test -s "$scratch/servers/ports"
    model=$(port model) posthog=$(port posthog) files=$(port files)
}

port() {
    echo "http://127.0.0.1:$(node -p "JSON.parse(require('fs').readFileSync('$scratch/servers/ports')).$1")"
}

# How many events of a kind PostHog has.
events() {
    grep -c "\"event\":\"[$]$1\"" "$scratch/servers/events.jsonl" || true
}

has_events() {
    [[ $(events "$1") == "$2" ]]
}

has_more_events() {
    [[ $(events "$1") -gt $2 ]]
}

wait_for() {
    local what=$1 seconds=$2 end
    shift 2
    end=$((SECONDS + seconds))
    until "$@"; do
        [[ $SECONDS -lt $end ]] || { echo "FAILED: $what did not come within $seconds s: $*" >&2; exit 1; }
        sleep 0.1
    done
}

# Installs a version of Claude Code into a folder that is kept, and prints the program's path.
claude_code() {
    local version=$1 folder=$PWD/target/claude-code-$1 program
    if [[ ! -d $folder ]]; then
        npm install --ignore-scripts --force --no-audit --no-fund --loglevel=error --prefix "$folder" \
            "@anthropic-ai/claude-code@$version" > /dev/null
    fi
    for program in "$folder"/node_modules/@anthropic-ai/claude-code-*/claude; do
        "$program" --version > /dev/null 2>&1 && { echo "$program"; return; }
    done
    echo "Claude Code $version does not run here" >&2
    return 1
}

# A home of a user who has never used Claude Code.
new_home() {
    mkdir -p "$1/work"
    cat > "$1/.claude.json" << JSON
{"hasCompletedOnboarding": true, "lastOnboardingVersion": "9.9.9", "autoUpdates": false,
 "customApiKeyResponses": {"approved": ["k-ant-not-a-real-key"], "rejected": []},
 "projects": {"$1/work": {"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true}}}
JSON
}

# Runs a command in a home, with nothing of the caller's environment but what the home's user would have.
in_home() {
    local home=$1
    shift
    (
        cd "$home/work" || exit
        env -i HOME="$home" PATH="${user_path:-/usr/local/bin:/usr/bin:/bin}" TERM=xterm LANG=C.UTF-8 SHELL=/bin/sh IS_SANDBOX=1 \
            ANTHROPIC_BASE_URL="$model" ANTHROPIC_API_KEY=sk-ant-not-a-real-key GIT_CONFIG_NOSYSTEM=1 \
            DISABLE_TELEMETRY=1 DISABLE_ERROR_REPORTING=1 DISABLE_AUTOUPDATER=1 CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 \
            timeout 120 "$@" < /dev/null
    )
}
