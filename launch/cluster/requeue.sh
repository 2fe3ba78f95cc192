# shellcheck shell=bash
# Sourced by the scripts beside it.

# The value of a `#SBATCH --NAME=VALUE` line of the script itself.
header() { sed -n "s/^#SBATCH --$1=\([^ ]*\).*/\1/p" "$0"; }

# How a SIGTERM is handed on to a command, given its process.
hand_on() { kill -TERM "$1" 2>/dev/null; }

# Runs a command, hands a SIGTERM on to it, or a Ctrl-C as one, and returns its status.
run_and_forward() {
  local status=0 told='' again=0 step
  set -m # a group of its own: a Ctrl-C comes here alone, and the command is not deaf to it
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

# Queues the job again unless the command ended well (0) or its input is unusable (2). 75 says that
# it has saved and wants to go on; anything else, as a host that died, is tried again RESTARTS
# times at most.
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
