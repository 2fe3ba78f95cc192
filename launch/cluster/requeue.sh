# shellcheck shell=bash
# Functions for the scripts in this folder, which source this file.

# The Python to run is PYTHON, or that of the Apptainer image IMAGE.
python=("${PYTHON:-.venv/bin/python}")
[ -z "${IMAGE-}" ] || python=(apptainer exec --nv "$IMAGE" python)

# Checks a training with check.py. Arguments: DEVICES GB_PER_DEVICE FLAGS... The variable MEMORY
# replaces GB_PER_DEVICE.
check() {
  "${python[@]}" launch/cluster/check.py --devices="$1" --memory="${MEMORY:-$2}" "${@:3}"
}

# Prints the value of a `#SBATCH --NAME=VALUE` line of the calling script.
header() { sed -n "s/^#SBATCH --$1=\([^ ]*\).*/\1/p" "$0"; }

# Passes a SIGTERM on to the command with the given process number.
hand_on() { kill -TERM "$1" 2>/dev/null; }

# Runs a command, passes SIGTERM and Ctrl-C on to it as SIGTERM, and returns its status.
run_and_forward() {
  local status=0 told='' again=0 step
  set -m # the command gets its own group, so that Ctrl-C reaches only this script
  "$@" &
  set +m
  step=$!
  trap 'told=yes; hand_on "$step"' TERM INT
  wait "$step" || status=$?
  while [ -n "$told" ]; do # the signal ended `wait` but not the command
    told='' again=0
    wait "$step" || again=$?
    [ "$again" -eq 127 ] || status=$again # 127 means that the command ended before the signal
  done
  trap - TERM INT
  return "$status"
}

# Queues the job again unless the command succeeded (0) or its input is unusable (2). 75 means that
# the command saved its state and can continue. After any other status, for example if a host died,
# the job is not queued again once it was restarted RESTARTS times, restarts after 75 included.
run_and_requeue() {
  local status=0
  run_and_forward "$@" || status=$?
  case $status in
    0 | 2) return "$status" ;;
    75) ;;
    *) [ "${SLURM_RESTART_COUNT:-0}" -lt "${RESTARTS:-10}" ] || return "$status" ;;
  esac
  echo "status $status: queued again" >&2
  for _ in 1 2 3 4 5; do # a busy controller may not answer
    scontrol requeue "$SLURM_JOB_ID" && break
    sleep 10
  done
  return "$status"
}
