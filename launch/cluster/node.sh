#!/usr/bin/env bash
# One training on all GPUs of this machine, in one process; started again where it breaks.
#
#   bash launch/cluster/node.sh --dry_run --config=... --data=... --workdir=...
#   bash launch/cluster/node.sh --config=... --data=... --workdir=...
#
# Variables: PYTHON; for the dry run GPUS, counted if not given, and MEMORY of each in GB; RESTARTS,
# how often at most.
set -euo pipefail
cd "$(dirname "$0")/../.."
. launch/cluster/requeue.sh
python=${PYTHON:-.venv/bin/python}

if [ "${1-}" = --dry_run ]; then
  shift
  gpus=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}
  exec "$python" launch/cluster/check.py --devices="$gpus" --memory="${MEMORY:-80}" "$@"
fi

for ((left = ${RESTARTS:-3}; ; left--)); do
  status=0
  run_and_forward "$python" launch/train.py "$@" || status=$?
  case $status in 0 | 2 | 75) exit "$status" ;; esac # done; unusable input; told to stop
  [ "$left" -gt 0 ] || exit "$status"
  echo "status $status: started again" >&2
done
