# The servers under load, for the scripts in this folder: each on its own port, with one worker on processor 0. They are
# ended when the script ends.
# Kamailio needs the packages kamailio and kamailio-tls-modules.

folder=$(mktemp -d)
declare -A pids=()
trap 'end_servers; rm -rf "$folder"' EXIT
ulimit -n "$(ulimit -Hn)"
target=${CARGO_TARGET_DIR:-target}
next_port=${PORT:-5960}

# Builds the program and the generator, and makes a certificate for them.
build() {
    cargo build --profile dist --locked --bin frontdesk --example load -p server
    "$target/dist/examples/load" certificate "$folder"
}

# The generator, on processor 1. Its arguments: those of examples/load.
load() { timeout 900 taskset -c 1 "$target/dist/examples/load" "$@" --certificate "$folder/certificate.pem"; }

# Starts a server for these transports, each on a port of its own: `start NAME frontdesk tcp tls`. Afterwards `places`
# has the arguments for the generator.
start() {
    local name=$1 program=$2 ports=() listen=() transport pid
    shift 2
    for transport in "$@"; do
        ports+=("$next_port")
        listen+=("$transport://127.0.0.1:$next_port")
        next_port=$((next_port + 1))
    done
    "start_$program" "$name" "${listen[@]}"
    pid=${pids[$name]}
    places=()
    for transport in "$@"; do
        places+=("$name=$transport/127.0.0.1:${ports[0]}/$pid")
        wait_for "${ports[0]}" "$transport" || { cat "$folder/$name.log" >&2; return 1; }
        ports=("${ports[@]:1}")
    done
}

start_frontdesk() {
    local name=$1 listen
    shift
    listen=$(printf '"%s", ' "$@")
    cat >"$folder/$name.yaml" <<CONFIG
domains: [office.example]
listen: [${listen%, }]
tls: { certificate: certificate.pem, private_key: key.pem }
workers: 1
authentication: off
location: { store: memory, path: $folder/$name }
metrics: { listen: off }
limits:
  { users: 2000000, connections: 20000, connections_per_source: 20000, handshakes: 20000, handshakes_per_source: 20000 }
log: { level: warn }
CONFIG
    taskset -c 0 "${FRONTDESK_BIN:-$target/dist/frontdesk}" run --config "$folder/$name.yaml" >"$folder/$name.log" 2>&1 &
    pids[$name]=$!
}

# A registrar and stateless proxy like frontdesk in these tests. TLS 1.3, because the generator offers nothing else.
start_kamailio() {
    local name=$1 transport
    shift
    {
        cat <<'CONFIG'
#!KAMAILIO
debug=0
log_stderror=yes
fork=yes
children=1
tcp_children=1
enable_sctp=no
auto_aliases=no
dns=no
rev_dns=no
alias="office.example"
server_signature=no
tcp_max_connections=30000
tls_max_connections=30000
tcp_connection_lifetime=7200
tcp_accept_no_cl=no
CONFIG
        [[ "$*" == *tls:* ]] && echo 'enable_tls=yes'

        for transport in "$@"; do echo "listen=${transport/:\/\//:}"; done
        cat <<'CONFIG'
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "sanity.so"
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "hash_size", 14)
modparam("usrloc", "timer_interval", 60)
modparam("usrloc", "use_domain", 0)
modparam("registrar", "max_expires", 3600)
modparam("registrar", "default_expires", 3600)
CONFIG
        if [[ "$*" == *tls:* ]]; then
            cat <<CONFIG
loadmodule "tls.so"
modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "certificate", "$folder/certificate.pem")
modparam("tls", "private_key", "$folder/key.pem")
CONFIG
        fi
        cat <<'CONFIG'
request_route {
    force_rport();
    if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
    if (is_method("OPTIONS") && uri==myself && $rU==$null) { sl_send_reply("200", "Keepalive"); exit; }
    if (!sanity_check("17895", "7")) exit;
    if (is_method("REGISTER")) { if (!save("location")) sl_reply_error(); exit; }
    if (has_totag()) {
        if (loose_route()) { forward(); exit; }
        if (!is_method("ACK")) sl_send_reply("404", "Not here");
        exit;
    }
    if (uri!=myself) { sl_send_reply("403", "Not relaying"); exit; }
    if (is_method("INVITE|SUBSCRIBE")) record_route();
    if (!lookup("location")) { sl_send_reply("404", "Not Found"); exit; }
    forward();
    exit;
}
reply_route { if (!sanity_check("17604", "6")) drop; }
CONFIG
    } >"$folder/$name.cfg"
    # In the foreground (-DD), so that it stays the parent of its processes.
    taskset -c 0 kamailio -DD -f "$folder/$name.cfg" -m "${SHARED_MB:-1024}" -M 16 -x tlsf -w "$folder" -Y "$folder" \
        >"$folder/$name.log" 2>&1 </dev/null &
    pids[$name]=$!
}

# Until something listens on this port.
wait_for() {
    local port=$1 kind=-ltn
    [ "$2" = udp ] && kind=-lun
    for _ in $(seq 100); do
        ss "$kind" | grep -q "127.0.0.1:$port " && return
        sleep 0.1
    done
    echo "nothing listens on port $port" >&2
    return 1
}

end_servers() {
    local name
    for name in "${!pids[@]}"; do kill "${pids[$name]}" 2>/dev/null || true; done
    for name in "${!pids[@]}"; do wait "${pids[$name]}" 2>/dev/null || true; done
    pids=()
}
