#!/usr/bin/env bash
# Run one training on all GPUs of this machine, in one process that is restarted if it fails.
#
#   bash launch/cluster/node.sh --dry_run --config=... --data=... --workdir=...
#   bash launch/cluster/node.sh --config=... --data=... --workdir=...
#
# Variables: PYTHON; IMAGE, an Apptainer image to run in; RESTARTS, the largest number of restarts
# (3); and for the dry run GPUS, the number of GPUs (by default those of this machine), and MEMORY,
# the memory of each GPU in GB (80).
set -euo pipefail
cd "$(dirname "$0")/../.."
. launch/cluster/requeue.sh

if [ "${1-}" = --dry_run ]; then
  shift
  check "${GPUS:-$(nvidia-smi --list-gpus | wc -l)}" 80 "$@"
  exit
fi

for ((left = ${RESTARTS:-3}; ; left--)); do
  status=0
  run_and_forward "${python[@]}" launch/train.py "$@" || status=$?
  case $status in 0 | 2 | 75) exit "$status" ;; esac # done, unusable input, or stopped by a signal
  [ "$left" -gt 0 ] || exit "$status"
  echo "status $status: started again" >&2
done
