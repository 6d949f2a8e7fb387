# Starting and stopping the control plane and the nodes. Sourced by kit.
# shellcheck shell=bash

kube() { "$BIN/$1" "${@:2}"; }
ready() {
  check_running || return "$HOPELESS"
  kube kubectl --kubeconfig "$STATE/kubeconfig" --request-timeout=2s get --raw /readyz
}

new_state() { # FOLDER: the keys in it are the cluster's, so it is ours alone
  BIN=$(cache_folder kube) STATE=$1 PKI=$1/pki
  export BIN STATE PKI
  [[ ! -e $STATE ]] || fail "$STATE exists: already up, or not taken down (kit down)"
  mkdir -p "$KIT_RUN"
  [[ -O $KIT_RUN ]] || fail "$KIT_RUN belongs to another user"
  chmod 700 "$KIT_RUN" # by the folder, not by umask: what the kubelet makes in it pods must read
  mkdir "$STATE" "$STATE/log" "$STATE/pid"
}

# What the two kinds of cluster share. PREFIX is the command that enters the control plane's network.
start_etcd() { # CLIENT-PORT PEER-PORT
  local client=http://127.0.0.1:$1 peer=http://127.0.0.1:$2
  # Data need not outlive the machine, so no fsync: several times faster on a slow disk.
  start etcd "${PREFIX[@]}" "$BIN/etcd" --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer"
}

start_apiserver() { # BIND-ADDRESS PORT ETCD-PORT ADVERTISED-ADDRESS FLAG...
  local extra=()
  read -ra extra <<<"${KIT_APISERVER_ARGS:-}"
  start kube-apiserver "${PREFIX[@]}" "$BIN/kube-apiserver" --bind-address="$1" --secure-port="$2" \
    --etcd-servers="http://127.0.0.1:$3" --advertise-address="$4" "${@:5}" \
    --service-cluster-ip-range="$SERVICE_NET.0.0/16" --authorization-mode=Node,RBAC --allow-privileged=true \
    --enable-admission-plugins=NodeRestriction --client-ca-file="$PKI/ca.crt" \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --kubelet-client-certificate="$PKI/kubelet-client.crt" --kubelet-client-key="$PKI/kubelet-client.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$PKI/sa.key" --service-account-signing-key-file="$PKI/sa.key" "${extra[@]}"
}

start_controllers() {
  local extra=()
  read -ra extra <<<"${KIT_CONTROLLERS_ARGS:-}"
  start kube-controller-manager "${PREFIX[@]}" "$BIN/kube-controller-manager" --kubeconfig="$PKI/controllers.kubeconfig" \
    --bind-address=127.0.0.1 --secure-port="$1" --leader-elect=false --use-service-account-credentials \
    --root-ca-file="$PKI/ca.crt" --service-account-private-key-file="$PKI/sa.key" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --allocate-node-cidrs --cluster-cidr="$POD_NET.0.0/16" "${extra[@]}"
}

make_pki() { # SERVER IP...
  make_ca
  apiserver_certificate "${@:2}"
  client_certificate kubelet-client /O=system:masters/CN=apiserver-kubelet-client
  client_certificate admin /O=system:masters/CN=admin
  client_certificate controllers /CN=system:kube-controller-manager
  write_kubeconfig admin "$1" "$STATE/kubeconfig"
  write_kubeconfig controllers "$1" "$PKI/controllers.kubeconfig"
}

give_up() {
  check_running || true
  fail "$1; logs: $STATE/log (kit down removes them)"
}

control_plane_up() { # [--controllers]
  [[ -z $1 || $1 == --controllers ]] || usage
  need_commands openssl python3
  need_build kube
  new_state "$KIT_RUN/control-plane"
  local ports flags=()
  # Free ports, so that several control planes can run at once (each in a KIT_RUN of its own).
  read -ra ports < <(python3 -c '
import socket
s = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*(x.getsockname()[1] for x in s))')
  [[ -z ${KIT_PORT:-} ]] || ports[0]=$KIT_PORT
  PREFIX=()
  make_pki "https://127.0.0.1:${ports[0]}"
  # Nothing makes service accounts here without the controllers, and pods need one.
  [[ $1 == --controllers ]] || flags=(--disable-admission-plugins=ServiceAccount)
  start_etcd "${ports[1]}" "${ports[2]}"
  start_apiserver 127.0.0.1 "${ports[0]}" "${ports[1]}" 127.0.0.1 --endpoint-reconciler-type=none "${flags[@]}"
  [[ -z $1 ]] || start_controllers "${ports[3]}"
  await "$WAIT" kube-apiserver ready || give_up "kube-apiserver is not ready"
  say "control plane ready"
  echo "$STATE/kubeconfig"
}

cgroup_folders() { # N: the node's cgroup in every hierarchy
  local root=/sys/fs/cgroup folder
  if [[ $(stat -fc %T $root) == cgroup2fs ]]; then
    echo "$root/$(node_netns "$1")"
  else
    for folder in "$root"/*/; do
      [[ ! -e ${folder}cgroup.procs || -L ${folder%/} ]] || echo "$folder$(node_netns "$1")"
    done
  fi
}

make_networks() { # NODES
  local i j netns
  ip link add "$BRIDGE" type bridge
  echo "$1" >"$STATE/nodes" # from here on the slot's devices are ours to take down
  ip addr add "$NODE_NET.1/24" dev "$BRIDGE"
  ip link set "$BRIDGE" up
  for ((i = 1; i <= $1; i++)); do
    netns=$(node_netns "$i")
    ip netns add "$netns"
    ip link add "$BRIDGE-$i" type veth peer name eth0 netns "$netns"
    ip link set "$BRIDGE-$i" master "$BRIDGE" up
    ip -n "$netns" link set lo up
    ip -n "$netns" addr add "$(node_ip "$i")/24" dev eth0
    ip -n "$netns" link set eth0 up
    ip -n "$netns" route add default via "$NODE_NET.1"
    for ((j = 1; j <= $1; j++)); do
      [[ $i == "$j" ]] || ip -n "$netns" route add "$(pod_cidr "$j")" via "$(node_ip "$j")"
    done
    # Pods and services are reachable from this machine too. The routes go with the bridge.
    ip route add "$(pod_cidr "$i")" via "$(node_ip "$i")"
    # not `ip netns exec`: it mounts /sys anew. bridge-nf-call: services between pods of one node.
    nsenter --net="/run/netns/$netns" sh -c 'cd /proc/sys/net && echo 1 >ipv4/ip_forward && echo 1 >ipv4/conf/all/route_localnet &&
      if [ -e bridge/bridge-nf-call-iptables ]; then echo 1 >bridge/bridge-nf-call-iptables; fi'
  done
  ip route add "$SERVICE_NET.0.0/16" via "$(node_ip 1)"
}

node_registered() { # N
  check_running || return "$HOPELESS"
  kube kubectl --kubeconfig "$STATE/kubeconfig" --request-timeout=2s get node "$(node_name "$1")"
}

cluster_up() { # NODES
  local nodes=$1 i extra=()
  [[ $nodes =~ ^[1-9]$ ]] || fail "1 to 9 nodes, not $nodes"
  need_root
  need_build kube pause
  need_commands containerd ctr runc nft iptables ip nsenter unshare openssl ps python3
  # In a node these folders are the node's own (node.sh), so nothing of ours can lie there.
  for i in "$KIT_RUN" "$KIT_CACHE" "$KIT_HOME"; do
    [[ ! $i/ =~ ^(/run|/var/run|/var/lib|/var/log)/ ]] || fail "$i: must not lie under /run, /var/lib or /var/log"
  done
  [[ ! -e $KIT_RUN/cluster ]] || fail "$KIT_RUN/cluster exists: already up, or not taken down (kit down)"
  [[ ! -e /sys/class/net/$BRIDGE ]] || fail "the device $BRIDGE exists: another cluster has slot $KIT_SLOT (set KIT_SLOT)"
  new_state "$KIT_RUN/cluster"
  PAUSE=$(cache_folder pause)/pause.tar
  export PAUSE
  make_networks "$nodes"
  make_pki "https://$(node_ip 1):6443" "$(node_ip 1)"
  client_certificate scheduler /CN=system:kube-scheduler
  client_certificate proxy /CN=system:kube-proxy
  write_kubeconfig scheduler "https://$(node_ip 1):6443" "$PKI/scheduler.kubeconfig"
  write_kubeconfig proxy "https://$(node_ip 1):6443" "$PKI/proxy.kubeconfig"
  for ((i = 1; i <= nodes; i++)); do
    node_certificate "$i"
    write_kubeconfig "$(node_name "$i")" "https://$(node_ip 1):6443" "$PKI/$(node_name "$i").kubeconfig"
  done
  say "networks and certificates made"

  PREFIX=(nsenter --net="/run/netns/$(node_netns 1)")
  start_etcd 2379 2380
  start_apiserver 0.0.0.0 6443 2379 "$(node_ip 1)"
  start_controllers 10257
  read -ra extra <<<"${KIT_SCHEDULER_ARGS:-}"
  start kube-scheduler "${PREFIX[@]}" "$BIN/kube-scheduler" --kubeconfig="$PKI/scheduler.kubeconfig" --bind-address=127.0.0.1 --leader-elect=false "${extra[@]}"
  for ((i = 1; i <= nodes; i++)); do
    cgroup_folders "$i" >"$STATE/cgroups-$i"
    # --kill-child: to end this one process ends the node, its pods and their mounts.
    start "$(node_name "$i")" nsenter --net="/run/netns/$(node_netns "$i")" \
      unshare --mount --uts --pid --fork --kill-child --mount-proc "$KIT_HOME/lib/node.sh" "$i"
  done
  await "$WAIT" kube-apiserver ready || give_up "kube-apiserver is not ready"
  say "control plane ready"
  for ((i = 1; i <= nodes; i++)); do
    await "$WAIT" "node $i to register" node_registered "$i" || give_up "node $i has not registered (see also $STATE/node$i/log)"
    kube kubectl --kubeconfig "$STATE/kubeconfig" wait --for=condition=Ready "node/$(node_name "$i")" --timeout="${WAIT}s" >&2 ||
      give_up "node $i is not ready (see also $STATE/node$i/log)"
  done
  say "nodes ready"
  echo "$STATE/kubeconfig"
}

stop_state() { # FOLDER: stops what it records, then removes it
  local state=$1 file i folder left=0
  [[ -d $state ]] || return 0
  # Nodes first: the pods' processes, then what they talk to.
  for file in "$state"/pid/node*.pid; do
    [[ -e $file ]] || continue
    stop_node "$file" || left=1
  done
  for file in "$state"/pid/{kube-scheduler,kube-controller-manager,kube-apiserver,etcd}.pid; do
    stop "$file" KILL || left=1
  done
  if [[ -f $state/nodes ]]; then
    for ((i = 1; i <= $(<"$state/nodes"); i++)); do
      ip netns del "$(node_netns "$i")" 2>/dev/null || true
      [[ -f $state/cgroups-$i ]] || continue
      while read -r folder; do
        await 10 "the cgroup $folder to empty" remove_cgroup "$folder" || left=1
      done <"$state/cgroups-$i"
    done
    ip link del "$BRIDGE" 2>/dev/null || true
  fi
  [[ $left == 0 ]] || fail "not everything ended; what is recorded in $state/pid still runs"
  rm -rf "$state"
  say "$(basename "$state") is down"
}

remove_cgroup() { [[ ! -d $1 ]] || find "$1" -depth -type d -exec rmdir {} +; }

stop_node() { # PIDFILE of unshare; its child is the node's process 1
  local init=
  if running "$1"; then init=$(ps -o pid= --ppid "$(cut -d' ' -f1 "$1")" | tr -d ' ') || true; fi
  [[ -z $init ]] || record "${1%.pid}.init" "$init"
  stop "$1" KILL || return 1
  # The kernel ends all processes of the namespace before its process 1 is gone.
  [[ ! -f ${1%.pid}.init ]] || stop "${1%.pid}.init" KILL
}

all_down() {
  stop_state "$KIT_RUN/control-plane"
  stop_state "$KIT_RUN/cluster"
  [[ -d $KIT_RUN ]] || return 0
  rm -rf "$KIT_RUN/images"
  rmdir "$KIT_RUN" || fail "$KIT_RUN holds files that are not the kit's"
}

kubeconfig() { # the cluster's, else the control plane's
  local state
  for state in cluster control-plane; do
    [[ ! -f $KIT_RUN/$state/kubeconfig ]] || { echo "$KIT_RUN/$state/kubeconfig"; return; }
  done
  fail "nothing is up"
}

node_exec() { # N COMMAND...
  local file=$KIT_RUN/cluster/pid/node$1.pid init
  running "$file" || fail "node $1 is not up"
  init=$(ps -o pid= --ppid "$(cut -d' ' -f1 "$file")" | tr -d ' ')
  nsenter -t "$init" --mount --uts --net --pid "${@:2}"
}

image_build() {
  local out=()
  if [[ " $* " != *" -o "* ]]; then
    (umask 077 && mkdir -p "$KIT_RUN/images")
    out=(--folder "$KIT_RUN/images")
  fi
  python3 "$KIT_HOME/mkoci.py" "${out[@]}" "$@"
}

image_import() { # ARCHIVE
  local nodes=$KIT_RUN/cluster/nodes i
  [[ -f $1 ]] || fail "no such file: $1"
  [[ -f $nodes ]] || fail "no cluster is up"
  for ((i = 1; i <= $(<"$nodes"); i++)); do # by stdin: the path may not be the same in the node
    node_exec "$i" timeout "$WAIT" ctr -n k8s.io images import - <"$1" >&2 || fail "node $i refused $1"
  done
}

dns_answers() { # N: whether a node gets an answer through the service
  node_exec "$1" python3 -c '
import socket, sys
name = b"".join(bytes([len(p)]) + p for p in b"kubernetes.default.svc.cluster.local".split(b"."))
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(0.5)
s.sendto(bytes([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + name + bytes([0, 0, 1, 0, 1]), (sys.argv[1], 53))
answer = s.recv(512)
sys.exit(answer[3] & 15 or not answer[7])' "$SERVICE_NET.0.10"
}

dns_up() {
  need_build kube coredns
  local bin config i
  bin=$(cache_folder kube) config=$(kubeconfig)
  image_import "$(cache_folder coredns)/coredns.tar"
  sed "s/SERVICE_NET/$SERVICE_NET/" "$KIT_HOME/manifests/coredns.yaml" | KUBECONFIG=$config "$bin/kubectl" apply -f - >&2
  KUBECONFIG=$config "$bin/kubectl" -n kube-system rollout status deployment/coredns --timeout="${WAIT}s" >&2
  # A pod that is ready is not yet in every node's rules, and a client that asks too early waits 5 s.
  for ((i = 1; i <= $(<"$KIT_RUN/cluster/nodes"); i++)); do
    await 30 "DNS on node $i" dns_answers "$i" || fail "DNS does not answer on node $i"
  done
  say "DNS answers at $SERVICE_NET.0.10"
}

status() {
  need_build kube
  local state file name bad=0 any=0
  for state in "$KIT_RUN/cluster" "$KIT_RUN/control-plane"; do
    [[ -d $state ]] || continue
    any=1
    echo "$(basename "$state"): KUBECONFIG=$state/kubeconfig logs=$state/log"
    for file in "$state"/pid/*.pid; do
      name=$(basename "$file" .pid)
      if running "$file"; then
        printf '  %-24s pid %-8s %s MiB\n' "$name" "$(cut -d' ' -f1 "$file")" \
          "$(awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$(cut -d' ' -f1 "$file")/status")"
      else
        printf '  %-24s ENDED\n' "$name"
        bad=1
      fi
    done
    "$(cache_folder kube)/kubectl" --kubeconfig "$state/kubeconfig" --request-timeout=5s get nodes || bad=1
  done
  [[ $any == 1 ]] || { echo "nothing is up"; bad=1; }
  return $bad
}
