# Completion of the ferry command for bash. Installed as /usr/share/bash-completion/completions/ferry.
_ferry() {
  local cur prev words cword
  _init_completion || return
  local commands="run ss stat ping capture relay replay demo bench version"
  local i command=
  for ((i = 1; i < cword; i++)); do
    case ${words[i]} in
      -*) ;;
      *) command=${words[i]}; break ;;
    esac
  done
  if [[ -z $command ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands --help" -- "$cur")
    return
  fi
  # The program behind `ferry run [options] --` completes as if it stood alone.
  if [[ $command == run ]]; then
    for ((i = i + 1; i < cword; i++)); do
      if [[ ${words[i]} == -- ]]; then
        _command_offset $((i + 1))
        return
      fi
    done
  fi
  case $prev in
    --socket | --write | -w | --log) _filedir; return ;;
    --scheme) mapfile -t COMPREPLY < <(compgen -W "shared emulated copy" -- "$cur"); return ;;
    --direction) mapfile -t COMPREPLY < <(compgen -W "forth back both" -- "$cur"); return ;;
  esac
  local options="--help"
  case $command in
    run) options+=" --socket --scheme --log --" ;;
    ss) options+=" --socket --tcp --udp --listening --extended --json" ;;
    stat) options+=" --socket --all --json" ;;
    ping) options+=" --socket --count --size --interval --timeout" ;;
    capture) options+=" --socket --write --filter --count --duration" ;;
    relay) options+=" --loss --duplicate --corrupt --reorder --hold --delay --jitter --rate --direction --seed --report" ;;
    bench) options+=" passing --pairs --rounds --seconds --rows --sizes --schemes --places --json --document --plots" ;;
    version) options+=" --socket" ;;
  esac
  if [[ $cur == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
  elif [[ $command == relay ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(ls /sys/class/net)" -- "$cur")
  elif [[ $command == replay ]]; then
    _filedir
  elif [[ $command == run ]]; then
    mapfile -t COMPREPLY < <(compgen -c -- "$cur")
  fi
}
complete -F _ferry ferry
