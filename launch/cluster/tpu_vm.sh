#!/usr/bin/env bash
# Run one training on all hosts of a TPU VM. The hosts find each other.
#
#   TPU=name ZONE=zone bash launch/cluster/tpu_vm.sh --dry_run --config=... --data=... --workdir=...
#   TPU=name ZONE=zone bash launch/cluster/tpu_vm.sh --config=... --data=... --workdir=...
#
# The checkout with its environment (`pip install -e . 'jax[tpu]'`) is in CHECKOUT on every host.
# Data and work directory are on a file system that all hosts share. The dry run is started on one
# of the hosts. It reads CHIPS, the total number of chips, and MEMORY, the memory of each in GB, and
# prints the command. After a preemption start the same command again.
set -euo pipefail
cd "$(dirname "$0")/../.."
. launch/cluster/requeue.sh
: "${TPU:?give TPU=name}" "${ZONE:?give ZONE=zone}"
checkout=${CHECKOUT:-sde_ct}
command="cd $checkout && .venv/bin/python launch/train.py"
given=("$@")

dry_run=
if [ "${1-}" = --dry_run ]; then
  dry_run=yes
  given=("${@:2}")
fi
[ ${#given[@]} -eq 0 ] || command+=$(printf ' %q' "${given[@]}")
run=(gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$command")

if [ -n "$dry_run" ]; then
  check "${CHIPS:?give CHIPS=count}" 16 "${given[@]}"
  printf '%q ' "${run[@]}"
  echo
  exit
fi
exec "${run[@]}"
