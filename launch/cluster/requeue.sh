# shellcheck shell=bash
# Sourced by the scripts beside it.

# The Python to run: PYTHON, or that of the Apptainer image IMAGE.
python=("${PYTHON:-.venv/bin/python}")
[ -z "${IMAGE-}" ] || python=(apptainer exec --nv "$IMAGE" python)

# The dry run: check DEVICES GB_A_DEVICE FLAGS...; MEMORY overrides the gigabytes.
check() {
  "${python[@]}" launch/cluster/check.py --devices="$1" --memory="${MEMORY:-$2}" "${@:3}"
}

# The value of a `#SBATCH --NAME=VALUE` line of the script itself.
header() { sed -n "s/^#SBATCH --$1=\([^ ]*\).*/\1/p" "$0"; }

# Passes a SIGTERM on to the command with this process number.
hand_on() { kill -TERM "$1" 2>/dev/null; }

# Runs a command, passes SIGTERM on to it, also for a Ctrl-C, and returns the command's status.
run_and_forward() {
  local status=0 told='' again=0 step
  set -m # a group of its own, so that Ctrl-C comes here alone and the command does not ignore it
  "$@" &
  set +m
  step=$!
  trap 'told=yes; hand_on "$step"' TERM INT
  wait "$step" || status=$?
  while [ -n "$told" ]; do # the signal ended `wait`, not the command
    told='' again=0
    wait "$step" || again=$?
    [ "$again" -eq 127 ] || status=$again # 127: it had ended before the signal came
  done
  trap - TERM INT
  return "$status"
}

# Queues the job again unless the command succeeded (0) or its input is unusable (2). 75 means that
# it saved and wants to go on. Any other status, as when a host died, is tried again at most RESTARTS
# times.
run_and_requeue() {
  local status=0
  run_and_forward "$@" || status=$?
  case $status in
    0 | 2) return "$status" ;;
    75) ;;
    *) [ "${SLURM_RESTART_COUNT:-0}" -lt "${RESTARTS:-10}" ] || return "$status" ;;
  esac
  echo "status $status: queued again" >&2
  for _ in 1 2 3 4 5; do # a controller that is busy may not answer
    scontrol requeue "$SLURM_JOB_ID" && break
    sleep 10
  done
  return "$status"
}
