#!/usr/bin/env bash
# Make homes (14 seeds x 4 eras, four shapes) and let the oracle check each; exit 1 if one differs.
#   agree.sh [SEED...]      PYTHON=python3 by default
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
ok=0 bad=0
[ $# -gt 0 ] || set -- $(seq 1 14)
for seed in "$@"; do
  case $((seed % 4)) in
    0) shape="--agents 1 --sessions 9 --messages 200" ;;
    1) shape="--agents 4 --sessions 50 --messages 2500 --leave-wal" ;;
    2) shape="--agents 3 --sessions 30 --messages 900 --bytes 4000 --days 400" ;;
    3) shape="--agents 6 --sessions 70 --messages 3000 --bytes 600 --days 9 --now 1775131200" ;;
  esac
  for era in jsonl-feb jsonl-mid sqlite upgraded; do
    # shellcheck disable=SC2086 # the shape is several words
    if ! "$python" "$here/make_home.py" "$tmp/home" --era "$era" --seed "$seed" --huge-bytes 3000000 $shape >"$tmp/out" 2>&1; then
      echo "cannot make $era $seed"
      tail -3 "$tmp/out"
      bad=$((bad + 1))
    elif ! "$python" "$here/oracle.py" "$tmp/home" --check "$tmp/home/truth.json" >"$tmp/out" 2>&1; then
      echo "differs: $era $seed $shape"
      head -6 "$tmp/out"
      bad=$((bad + 1))
    else
      ok=$((ok + 1))
    fi
  done
done
echo "agree $ok, differ $bad"
[ "$bad" -eq 0 ]
