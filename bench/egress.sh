# shellcheck shell=bash
# Sourced by run.sh: egress against other proxies, with the same client and the same origin, in rounds that take turns.
# The proxy has one core, client and origin have the other; what counts is the ratio to no proxy at all in the same round.

EG='' EG_ORIGIN='' LOAD='' HUDSUCKER='' SQUID='' MITM=''
readonly EG_SECRET=bench-secret-0123456789
declare -A EG_PID EG_ARGS

# on_core CORE COMMAND...
on_core() {
    local core=$1
    shift
    taskset -c "$core" "$@"
}

egress_client() {
    say "building the client of the measurement"
    cargo build --quiet --release --locked --package load --target-dir "$ROOT/target/bench"
    LOAD=$WORK/bin/load
    cp -- "$(find "$ROOT/target/bench" -path '*/release/load' -type f | head -n 1)" "$LOAD"
}

# A peer that can't be had is left out, and named.
egress_peers() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/bottle tool
    for tool in nginx openssl taskset python3 cargo; do
        type -P "$tool" >/dev/null || fail "\`$tool\` is missing: run scripts/setup.sh all bench"
    done
    egress_client
    say "egress: building hudsucker's proxy"
    if (cd -- bench/hudsucker && cargo build --quiet --release --target-dir "$ROOT/target/bench" ${BOTTLE_BENCH_INSIDE:+--offline}); then
        HUDSUCKER=$WORK/bin/hudsucker-bench
        cp -- "$(find "$ROOT/target/bench" -path '*/release/hudsucker-bench' -type f | head -n 1)" "$HUDSUCKER"
    else
        say "egress: left out: hudsucker can't be built"
    fi
    if ! type -P squid >/dev/null && [[ $(id -u) == 0 ]] && type -P apt-get >/dev/null; then
        say "egress: installing squid-openssl"
        # The package must not start a proxy of its own.
        printf '#!/bin/sh\nexit 101\n' >"$WORK/policy-rc.d"
        [[ -e /usr/sbin/policy-rc.d ]] || install -m 755 "$WORK/policy-rc.d" /usr/sbin/policy-rc.d
        { DEBIAN_FRONTEND=noninteractive apt-get -y -q install --no-install-recommends squid-openssl ||
            { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -y -q install --no-install-recommends squid-openssl; }; } \
            </dev/null >"$WORK/apt.log" 2>&1 || say "egress: $(tail -n 1 "$WORK/apt.log")"
        ! cmp --quiet "$WORK/policy-rc.d" /usr/sbin/policy-rc.d || rm -f /usr/sbin/policy-rc.d
    fi
    SQUID=$(type -P squid || true)
    [[ -n $SQUID && -x /usr/lib/squid/security_file_certgen ]] || { SQUID='' && say "egress: left out: squid with ssl_bump"; }
    MITM=$cache/bench-mitmproxy/bin/mitmdump
    if [[ ! -x $MITM ]]; then
        say "egress: installing mitmproxy"
        { python3 -m venv "$cache/bench-mitmproxy" && "$cache/bench-mitmproxy/bin/pip" install --quiet mitmproxy; } \
            >"$WORK/pip.log" 2>&1 || say "egress: $(tail -n 1 "$WORK/pip.log")"
    fi
    [[ -x $MITM ]] || { MITM='' && say "egress: left out: mitmproxy"; }
}

egress_certificates() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=bench CA' \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$EG/ca.key" -out "$EG/ca.pem" 2>/dev/null
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=localhost' \
        -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
        -CA "$EG/ca.pem" -CAkey "$EG/ca.key" -keyout "$EG/leaf.key" -out "$EG/leaf.pem" 2>/dev/null
}

# egress_nginx NAME PORT HTTP SERVER: starts an nginx with one worker; HTTP and SERVER are directives.
egress_nginx() {
    local dir=$EG/$1
    mkdir -p -- "$dir"
    cat >"$dir/nginx.conf" <<CONF
daemon off;
user $(id -un);
worker_processes 1;
pid $dir/pid;
error_log $dir/error.log;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    tcp_nodelay on;
    $3
    server {
        listen 127.0.0.1:$2 ssl;
        ssl_certificate $EG/leaf.pem;
        ssl_certificate_key $EG/leaf.key;
        $4
    }
}
CONF
    # Read by the caller: what egress_way keeps.
    EG_COMMAND=(nginx -p "$dir" -e "$dir/error.log" -c "$dir/nginx.conf")
}

# egress_start NAME CORE COMMAND...: starts it in the background, and leaves its process in EG_PID.
egress_start() {
    local name=$1 core=$2
    shift 2
    # The program itself, and no shell around it: it is ended by this number.
    taskset -c "$core" "$@" </dev/null >"$EG/$name.out" 2>"$EG/$name.err" &
    EG_PID[$name]=$!
    STARTED+=($!)
}

egress_listens() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        ! (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null || return 0
        kill -0 "${EG_PID[$1]}" 2>/dev/null || break
        sleep 0.05
    done
    tail -n 20 -- "$EG/$1.err" >&2
    fail "$1 does not listen"
}

# egress_policy STATE: a policy as a bottle has one, with more routes than the one that matches.
egress_policy() {
    local number
    printf 'version: 1\nroutes:\n'
    for number in 1 2 3 4 5 6 7 8 9 10; do
        printf -- '- { source: "bottle.yaml:%s", host: "host%s.example.org", scheme: https, ports: [443], methods: [GET, HEAD], paths: ["/**"] }\n' \
            "$number" "$number"
    done
    printf -- '- { source: "bottle.yaml:20", host: "*.example.net", scheme: https, ports: [443], methods: [GET, POST], paths: ["/v1/**", "/v2/*"] }\n'
    printf -- '- { source: "bottle.yaml:30", host: localhost, scheme: https, ports: [%s], methods: [GET, HEAD], paths: ["/bench/**"], private: true, credential: api }\n' \
        "$EG_ORIGIN"
    printf 'deny:\n- { source: "bottle.yaml:40", host: "*.evil.example" }\n- { source: "bottle.yaml:41", host: localhost, paths: ["/bench/secret/**"] }\n'
    printf 'extra_hosts: { localhost: 127.0.0.1 }\nextra_ca: ["%s/ca.pem"]\n' "$EG"
    printf 'credentials:\n  api: { source: "bottle.yaml:50", secret: !env BENCH_SECRET, inject: !header x-api-key }\n...\n'
}

# egress_command WAY PORT: the command of a way, in EG_COMMAND. What it needs on disk is made.
egress_command() {
    local way=$1 port=$2 dir=$EG/$1-$2
    mkdir -p -- "$dir"
    case $way in
    tunnel) EG_COMMAND=("$LOAD" tunnel --listen "127.0.0.1:$port") ;;
    nginx)
        egress_nginx "nginx-$port" "$port" "upstream origin { server 127.0.0.1:$EG_ORIGIN; keepalive 64; keepalive_requests 1000000000; }" \
            "location /bench/ {
                limit_except GET HEAD { deny all; }
                proxy_pass https://origin; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host \$http_host;
                proxy_set_header X-Api-Key $EG_SECRET; proxy_ssl_verify on; proxy_ssl_trusted_certificate $EG/ca.pem;
                proxy_ssl_name localhost; proxy_ssl_server_name on; proxy_max_temp_file_size 0; }"
        ;;
    hudsucker) EG_COMMAND=(env "SSL_CERT_FILE=$EG/ca.pem" "$HUDSUCKER" "127.0.0.1:$port" "$EG/ca.pem" "$EG/ca.key" localhost) ;;
    hudsucker-nodelay) EG_COMMAND=(env "SSL_CERT_FILE=$EG/ca.pem" "$HUDSUCKER" "127.0.0.1:$port" "$EG/ca.pem" "$EG/ca.key" localhost nodelay) ;;
    squid)
        /usr/lib/squid/security_file_certgen -c -s "$dir/certs" -M 16MB >/dev/null 2>&1
        cat >"$dir/squid.conf" <<CONF
http_port 127.0.0.1:$port ssl-bump cert=$EG/both.pem generate-host-certificates=on dynamic_cert_mem_cache_size=16MB
sslcrtd_program /usr/lib/squid/security_file_certgen -s $dir/certs -M 16MB
sslcrtd_children 1
ssl_bump bump all
tls_outgoing_options cafile=$EG/ca.pem
acl allowed dstdomain localhost
acl read method GET HEAD CONNECT
acl bench urlpath_regex ^/bench/
http_access allow CONNECT allowed
http_access allow allowed read bench
http_access deny all
request_header_add X-Api-Key "$EG_SECRET" all
cache deny all
access_log stdio:$dir/access.log
cache_log $dir/cache.log
pid_filename $dir/pid
coredump_dir $dir
shutdown_lifetime 0 seconds
client_persistent_connections on
server_persistent_connections on
pinger_enable off
CONF
        chown -R proxy "$dir"
        EG_COMMAND=("$SQUID" -N -f "$dir/squid.conf")
        ;;
    mitmproxy)
        cp -- "$EG/both.pem" "$dir/mitmproxy-ca.pem"
        EG_COMMAND=("$MITM" --quiet --set "confdir=$dir" --listen-host 127.0.0.1 --listen-port "$port" --scripts bench/egress/addon.py
            --set stream_large_bodies=1m --set "ssl_verify_upstream_trusted_ca=$EG/ca.pem")
        ;;
    bottle)
        mkdir -p -- "$dir/state" "$dir/trust" "$dir/grants"
        chmod 700 "$dir/state"
        egress_policy >"$dir/policy.yaml"
        EG_COMMAND=(env "BENCH_SECRET=$EG_SECRET" "SSL_CERT_FILE=$EG/ca.pem" "$BOTTLE" sidecar egress --policy "$dir/policy.yaml"
            --listen "127.0.0.1:$port" --admin "127.0.0.1:$(free_port)" --state "$dir/state" --trust "$dir/trust" --grants "$dir/grants")
        EG_CA=$dir/trust/ca.pem
        ;;
    esac
}

# egress_measure ROUND WAY PHASE ARG...: one measurement, as a line of the raw results.
egress_measure() {
    local round=$1 way=$2 phase=$3 line
    shift 3
    if ! line=$(on_core 1 "$LOAD" "$@" 2>"$EG/load.err"); then
        say "egress: $way, $phase: $(head -c 300 "$EG/load.err")"
        return 0
    fi
    printf '{"round":%s,"way":"%s","phase":"%s",%s\n' "$round" "$way" "$phase" "${line#\{}" >>"$EG/raw"
}

# egress_core WAY CORE: moves a running proxy, with all its processes and threads.
egress_core() {
    local pid
    [[ $1 != direct ]] || return 0
    for pid in "${EG_PID[$1]}" $(pgrep -P "${EG_PID[$1]}" || true); do taskset -a -p -c "$2" "$pid" >/dev/null; done
}

egress_phases() {
    local round=$1 way=$2 ms common
    # shellcheck disable=SC2206 # words on purpose
    common=(${EG_ARGS[$way]} --authority "localhost:$EG_ORIGIN" --pid "${EG_PID[$way]:-}")
    ms=$((3000 * ${BOTTLE_BENCH_RUNS:-100} / 100))
    egress_measure "$round" "$way" keepalive keepalive "${common[@]}" --path /bench/1k --connections 16 --ms "$ms"
    egress_measure "$round" "$way" new new "${common[@]}" --path /bench/1k --connections 4 --ms "$ms"
    egress_measure "$round" "$way" download download "${common[@]}" --path /bench/large
    # One connection: everything on one core, so that no wake-up of another core is measured.
    egress_core "$way" 1
    egress_measure "$round" "$way" latency keepalive "${common[@]}" --path /bench/1k --connections 1 --ms "$ms"
    egress_measure "$round" "$way" new_one new "${common[@]}" --path /bench/1k --connections 1 --ms "$ms"
    egress_core "$way" 0
}

bench_egress() {
    local ways=(direct tunnel nginx) way round rounds port json=${BOTTLE_BENCH_JSON:-$ROOT/target/bench/egress.json}
    (($(nproc) >= 2)) || fail "the proxy and its client need a core each"
    egress_peers
    if [[ -z ${BOTTLE_BENCH_INSIDE:-} && $(id -u) == 0 ]] && unshare --net true 2>/dev/null; then
        # In a network of its own: the packet filter that an engine brings costs a proxy twice what it costs no proxy.
        BOTTLE_BENCH_INSIDE=1 BOTTLE_BENCH_BINARY=$BOTTLE unshare --net bench/run.sh egress
        return
    fi
    [[ -z ${BOTTLE_BENCH_INSIDE:-} ]] || ip link set lo up
    EG=$WORK/egress
    mkdir -p -- "$EG/www/bench"
    # squid gives up its rights, and must reach its files all the same.
    chmod 711 "$WORK" "$EG"
    egress_certificates
    cat -- "$EG/ca.key" "$EG/ca.pem" >"$EG/both.pem"
    chmod 644 "$EG/both.pem" "$EG/ca.pem"
    head -c 768 /dev/urandom | base64 -w 0 | head -c 1024 >"$EG/www/bench/1k"
    truncate -s 256M "$EG/www/bench/large"
    EG_ORIGIN=$(free_port)
    egress_nginx origin "$EG_ORIGIN" 'default_type application/octet-stream;' \
        "root $EG/www; location = /bench/1k { default_type text/plain; }"
    egress_start origin 1 "${EG_COMMAND[@]}"
    egress_listens origin "$EG_ORIGIN"
    [[ -z $HUDSUCKER ]] || ways+=(hudsucker hudsucker-nodelay)
    [[ -z $SQUID ]] || ways+=(squid)
    [[ -z $MITM ]] || ways+=(mitmproxy)
    ways+=(bottle)
    EG_ARGS[direct]="--to 127.0.0.1:$EG_ORIGIN --ca $EG/ca.pem"
    for way in "${ways[@]:1}"; do
        port=$(free_port) EG_CA=$EG/ca.pem
        egress_command "$way" "$port"
        egress_start "$way" 0 "${EG_COMMAND[@]}"
        egress_listens "$way" "$port"
        EG_ARGS[$way]="--proxy 127.0.0.1:$port --ca $EG_CA"
        [[ $way != nginx ]] || EG_ARGS[$way]="--to 127.0.0.1:$port --ca $EG_CA"
    done
    rounds=$(runs 3)
    for ((round = 1; round <= rounds; round++)); do
        for way in "${ways[@]}"; do
            say "egress: round $round of $rounds: $way"
            egress_phases "$round" "$way"
        done
    done
    for way in "${ways[@]:1}"; do
        # The proxy and its helpers together, each at its own peak.
        for port in "${EG_PID[$way]}" $(pgrep -P "${EG_PID[$way]}" || true); do
            awk '/^VmHWM/ { print $2 }' "/proc/$port/status"
        done | awk -v way="$way" '{ sum += $1 } END { print way, sum }' >>"$EG/peaks"
    done
    say "egress: starts"
    for way in "${ways[@]:1}"; do
        port=$(free_port) EG_CA=$EG/ca.pem
        egress_command "$way" "$port"
        # Once without a measurement: what is made at the first start is there then.
        egress_start "$way-first" 0 "${EG_COMMAND[@]}"
        egress_listens "$way-first" "$port"
        kill -TERM "${EG_PID[$way-first]}"
        wait "${EG_PID[$way-first]}" 2>/dev/null || true
        for ((round = 1; round <= $(runs 10); round++)); do
            if [[ $way == nginx ]]; then set -- --to; else set -- --proxy; fi
            egress_measure "$round" "$way" start start "$1" "127.0.0.1:$port" --ca "$EG_CA" --authority "localhost:$EG_ORIGIN" \
                --path /bench/1k -- taskset -c 0 "${EG_COMMAND[@]}"
        done
    done
    mkdir -p -- "$(dirname -- "$json")"
    python3 bench/egress/report.py "$EG/raw" "$json" "$EG/peaks" >"$WORK/egress.md"
    say "egress: $json"
}
