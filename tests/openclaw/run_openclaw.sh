#!/usr/bin/env bash
# Install and run one OpenClaw version against the mock provider, in a throw-away home on loopback.
#
#   run_openclaw.sh install VERSION            fetch Node and OpenClaw from npm into the cache (once)
#   run_openclaw.sh up      VERSION HOME PORT  install, start mock and gateway, wait until ready
#   run_openclaw.sh drive   VERSION HOME PORT  the scripted turns and RPCs; more arguments go to drive.py
#   run_openclaw.sh cli     VERSION HOME PORT -- ARGS   that version's own command line in HOME
#   run_openclaw.sh down    VERSION HOME PORT  stop what `up` started
#   run_openclaw.sh all     VERSION HOME PORT  up, drive, down
#
# A gateway also takes ports near its own: keep PORTs 10 apart. The bill is HOME/.lab/mock.jsonl.
# Environment: OCLAB (cache), PYTHON (with websocket-client and cryptography), MOCK_PORT (PORT+1000),
# OTLP_PORT (switches OpenClaw's exporter on), LAB_SECONDS (nothing outlives this; 1800).
set -euo pipefail

CMD=${1:?command}
VERSION=${2:?version}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
OCLAB=${OCLAB:-${XDG_CACHE_HOME:-$HOME/.cache}/clawmeter-openclaw}
PYTHON=${PYTHON:-python3}
NODE_VERSION=24.21.0
PKG=$OCLAB/openclaw-$VERSION
NODE=$OCLAB/node-$NODE_VERSION
OPENCLAW=$PKG/node_modules/openclaw/openclaw.mjs

generation() {
  case $VERSION in
    2026.[1-3].*) echo feb ;;
    2026.[4-7].*) echo mid ;;
    *) echo latest ;;
  esac
}

# An install that was cut off must not look like one: it is made beside its place and then moved.
npm_into() { # TARGET PACKAGE_JSON
  local to=$1 new=$1.new.$$ try
  [ -e "$to/.complete" ] && return 0
  command -v npm >/dev/null || { echo "npm is needed to install OpenClaw $VERSION" >&2; return 1; }
  for try in 1 2 3; do
    rm -rf "$new" && mkdir -p "$new" && printf '%s' "$2" >"$new/package.json"
    if (cd "$new" && npm install --no-audit --no-fund --ignore-scripts --loglevel=error >npm.log 2>&1); then
      touch "$new/.complete"
      rm -rf "$to"
      mv "$new" "$to"
      return 0
    fi
    echo "npm install failed (attempt $try)" >&2
    sleep $((try * 3))
  done
  tail -5 "$new/npm.log" >&2
  rm -rf "$new"
  return 1
}

install_all() {
  mkdir -p "$OCLAB"
  local os arch deps
  os=$(uname -s | tr '[:upper:]' '[:lower:]')
  arch=$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')
  exec 9>"$OCLAB/lock"
  if command -v flock >/dev/null; then flock 9; fi
  npm_into "$NODE" "{\"private\":true,\"dependencies\":{\"node-$os-$arch\":\"$NODE_VERSION\"}}"
  [ -e "$NODE/bin" ] || ln -s "node_modules/node-$os-$arch/bin" "$NODE/bin"
  deps="\"dependencies\":{\"openclaw\":\"$VERSION\"}"
  # Early 2026 releases pull libsignal from git and a linkedom that no longer installs.
  case $VERSION in
    2026.[1-4].*) deps="$deps,\"overrides\":{\"libsignal\":\"6.0.0\",\"linkedom\":\"0.18.12\"}" ;;
  esac
  npm_into "$PKG" "{\"private\":true,$deps}"
  exec 9>&-
}

if [ "$CMD" = install ]; then
  install_all
  exit 0
fi

mkdir -p "${3:?home}/.lab"
LAB_HOME=$(cd "$3" && pwd)
PORT=${4:?port}
shift 4
RUN=$LAB_HOME/.lab
MOCK_PORT=${MOCK_PORT:-$((PORT + 1000))}
TOKEN=${TOKEN:-tok-$PORT-0123456789abcdef}
CONFIG=$LAB_HOME/.openclaw/openclaw.json

# The caller's own OpenClaw settings must not reach the throw-away one.
openclaw_env() {
  env -u OPENCLAW_STATE_DIR -u OPENCLAW_HOME -u OPENCLAW_CONFIG_PATH -u OPENCLAW_GATEWAY_TOKEN \
    -u OPENCLAW_GATEWAY_PORT -u OPENCLAW_PROFILE -u XDG_CONFIG_HOME -u XDG_STATE_HOME -u NODE_OPTIONS \
    HOME="$LAB_HOME" PATH="$NODE/bin:$PATH" OPENCLAW_DISABLE_BONJOUR=1 OPENCLAW_SKIP_CHANNELS=1 \
    NO_COLOR=1 DO_NOT_TRACK=1 "$@"
}
alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
start() { # NAME LOG COMMAND...: in its own session, so that a ctrl-C at the test does not reach it first
  local name=$1 log=$2
  shift 2
  (cd "$LAB_HOME" && exec setsid timeout -k 5 "${LAB_SECONDS:-1800}" "$@" >"$log" 2>&1 9>&-) &
  echo $! >"$RUN/$name.pid"
}

up() {
  install_all
  [ -e "$CONFIG" ] || "$PYTHON" "$HERE/make_config.py" "$(generation)" "$LAB_HOME" "$PORT" "$MOCK_PORT" "$TOKEN" ${OTLP_PORT:+"$OTLP_PORT"}
  alive "$RUN/mock.pid" || start mock "$RUN/mock.out" "$PYTHON" "$HERE/mock_provider.py" --port "$MOCK_PORT" --log "$RUN/mock.jsonl"
  if ! alive "$RUN/gateway.pid"; then
    export -f openclaw_env
    export LAB_HOME NODE
    start gateway "$RUN/gateway.out" bash -c 'openclaw_env "$@"' bash node "$OPENCLAW" gateway run
  fi
  local deadline=$((SECONDS + ${READY_SECONDS:-120}))
  while [ $SECONDS -lt $deadline ]; do
    if "$PYTHON" "$HERE/gateway_client.py" --config "$CONFIG" call health >/dev/null 2>&1; then
      echo "ready: ws://127.0.0.1:$PORT"
      return 0
    fi
    alive "$RUN/gateway.pid" || { echo "the gateway ended" >&2; tail -20 "$RUN/gateway.out" >&2; return 1; }
    sleep 0.5
  done
  echo "the gateway is not ready after ${READY_SECONDS:-120} s" >&2
  tail -20 "$RUN/gateway.out" >&2
  return 1
}

drive() {
  "$PYTHON" "$HERE/drive.py" --port "$PORT" --token "$TOKEN" --record "$RUN/frames.jsonl" "$@"
}

down() {
  local name pid
  for name in gateway mock; do
    if alive "$RUN/$name.pid"; then
      pid=$(cat "$RUN/$name.pid")
      kill -TERM "$pid" 2>/dev/null || true
      for _ in $(seq 1 40); do alive "$RUN/$name.pid" || break; sleep 0.25; done
      # `timeout` leads the process group, so this reaches what it started, too
      kill -KILL -- "-$pid" 2>/dev/null || true
    fi
    rm -f "$RUN/$name.pid"
  done
}

case $CMD in
  up) up ;;
  drive) drive "$@" ;;
  cli)
    if [ "${1:-}" = -- ]; then shift; fi
    cd "$LAB_HOME" && openclaw_env node "$OPENCLAW" "$@"
    ;;
  down) down ;;
  all)
    rc=0
    { up && drive "$@"; } || rc=$?
    down
    exit $rc
    ;;
  *)
    echo "unknown command $CMD" >&2
    exit 2
    ;;
esac
