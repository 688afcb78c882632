# Guards one server for one test process. Started with: sh -c THIS guardian KIND END_SIGNAL.
# Prints the path of a fresh temporary directory, then obeys lines on standard input:
#   init    run DIR/init.sh to its end; DIR/init.exit holds its status
#   launch  run DIR/start.sh in the background; DIR/pid holds its pid, DIR/exit its status once it ended
# Standard input is a pipe whose only writer is the test process. When it closes, by whatever death, the server is
# ended and the directory removed. That needs no cooperation from the test process, so SIGKILL cannot defeat it.
set -u
trap '' HUP INT TERM PIPE
cd /
dir=$(mktemp -d "${TMPDIR:-/tmp}/phoenix-$1-XXXXXX") || exit 1
end_signal=$2
printf '%s\n' "$dir"
exec >/dev/null 2>&1

children() {
  if [ -r /proc/self/status ]; then
    for status in /proc/[0-9]*/status; do
      while read -r key value; do
        if [ "$key" = PPid: ]; then
          if [ "$value" = "$1" ]; then
            child=${status#/proc/}
            echo "${child%/status}"
          fi
          break
        fi
      done <"$status"
    done
  else
    ps -axo pid=,ppid= | while read -r child parent; do
      if [ "$parent" = "$1" ]; then echo "$child"; fi
    done
  fi
}

write() {
  echo "$2" >"$dir/$1.new" && mv "$dir/$1.new" "$dir/$1"
}

# Waits until file $1 exists, at most $2 hundredths of a second.
await() {
  tries=0
  until [ -e "$dir/$1" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt "$2" ]; then return 1; fi
    sleep 0.01
  done
}

launch() {
  (
    # The server must see the default dispositions, or a polite SIGTERM would not reach it.
    trap - HUP INT TERM PIPE
    sh "$dir/start.sh" </dev/null >>"$dir/log" 2>&1 &
    server=$!
    trap '' HUP INT TERM PIPE
    write pid "$server"
    wait "$server"
    write exit "$?"
  ) &
  # Only when the pid is on record may this script go on to notice that the pipe closed.
  await pid 1000
}

while read -r command; do
  case $command in
    init)
      sh "$dir/init.sh" </dev/null >>"$dir/log" 2>&1
      write init.exit "$?"
      ;;
    launch) launch ;;
  esac
done

if [ -e "$dir/pid" ] && [ ! -e "$dir/exit" ]; then
  read -r server <"$dir/pid"
  family="$(children "$server")"
  for process in $server $family; do kill -CONT "$process"; done
  kill "-$end_signal" "$server"
  if ! await exit 600; then
    family="$(children "$server")"
    for process in $server $family; do kill -KILL "$process"; done
    await exit 600
  fi
fi

# A PostgreSQL that was killed outright leaves its interlock segment; the lock file names it.
lock="$dir/data/postmaster.pid"
if [ -e "$lock" ]; then
  segment=$(sed -n '7s/^ *[0-9]* *//p' "$lock")
  ipcrm -m "${segment:-0}"
fi

# Orphaned processes may still be writing for a moment.
tries=0
while [ -e "$dir" ] && [ "$tries" -lt 200 ]; do
  tries=$((tries + 1))
  rm -rf "$dir" || sleep 0.05
done
