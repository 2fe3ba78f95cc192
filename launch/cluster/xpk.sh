#!/usr/bin/env bash
# Run one training as a JobSet on TPU slices of a GKE cluster, through xpk (`pip install xpk`).
#
#   CLUSTER=name IMAGE=image TPU_TYPE=v5litepod-16 SLICES=2 bash launch/cluster/xpk.sh \
#       [--dry_run] --config=... --data=... --workdir=...
#
# IMAGE is built from the Dockerfile with --build-arg=EXTRA=tpu. --data and --workdir are paths in
# the pods, on the xpk storage STORAGE if it is given. The dry run checks these paths on the machine
# where it is started, and writes the JobSet to jobset.yaml. Pods restart if they were preempted
# (75), lost another pod (69), failed with a Python error (1), or were killed or aborted. Unusable
# input (2) ends the job.
set -euo pipefail
cd "$(dirname "$0")/../.."
. launch/cluster/requeue.sh
: "${CLUSTER:?give CLUSTER=name}" "${IMAGE:?give IMAGE=image}" "${TPU_TYPE:?give TPU_TYPE=type}"
slices=${SLICES:-1}
given=("$@")

dry_run=
if [ "${1-}" = --dry_run ]; then
  dry_run=yes
  given=("${@:2}")
fi
command="python launch/train.py"
[ ${#given[@]} -eq 0 ] || command+=$(printf ' %q' "${given[@]}")
run=(xpk workload create --cluster="$CLUSTER" --workload="${NAME:-sde-ct}"
  --tpu-type="$TPU_TYPE" --num-slices="$slices" --docker-image="$IMAGE" --command="$command"
  --max-restarts=100 "--restart-on-exit-codes=1,69,75" --termination-grace-period-seconds=120)
[ -z "${STORAGE-}" ] || run+=(--storage="$STORAGE")

if [ -n "$dry_run" ]; then
  chips=${TPU_TYPE##*-}
  # The names of these types count cores, of which a chip has two.
  case $TPU_TYPE in v2-* | v3-* | v4-* | v5p-*) chips=$((chips / 2)) ;; esac
  check $((chips * slices)) 16 "${given[@]}"
  exec "${run[@]}" --dry-run --skip-validation --output-manifest-file=jobset.yaml
fi
exec "${run[@]}"
