#!/usr/bin/env bash
# node.sh N: process 1 of node N, in mount, pid, uts and network namespaces of its own:
# runs containerd, kube-proxy and the kubelet. Started by kit up, with its variables.
set -euo pipefail
umask 022 # whatever the caller's: what the kubelet and containerd make, pods must read
# shellcheck source=lib/common.sh
. "$KIT_HOME/lib/common.sh"

n=$1
dir=$STATE/$(node_name "$n")
mkdir -p "$dir"/{log,pid,cni,containerd,lib/kubelet,lib/cni}
hostname "$(node_name "$n")" # what pods on the host's network see
mount --make-rshared /       # mount propagation among the node's pods

# These folders have names that cannot be set (the device plugins' and shims'
# sockets, the pods' network namespaces), so each node gets its own of them;
# and what is left in them goes with the mount namespace.
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/log
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -p /run/lock /run/netns /var/lib/kubelet /var/lib/cni
mount --bind "$dir/lib/kubelet" /var/lib/kubelet
mount --bind "$dir/lib/cni" /var/lib/cni

# A root cgroup of its own, in every hierarchy, or each node's kubelet would
# remove the other's pods as orphans.
while read -r cgroup; do
  mkdir -p "$cgroup"
  # A new v1 cpuset is empty, and no process may enter it then.
  for file in cpuset.cpus cpuset.mems; do
    [[ $cgroup != */cpuset*/* ]] || cat "${cgroup%/*}/$file" >"$cgroup/$file"
  done
done <"$STATE/cgroups-$n"
if [[ -e /sys/fs/cgroup/cgroup.subtree_control ]]; then # version 2
  for controller in cpuset cpu io memory pids; do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
  done
fi

cni_bin=${KIT_CNI_BIN:-/usr/lib/cni}
[[ -x $cni_bin/bridge ]] || fail "no CNI plugins in $cni_bin (kit install, or set KIT_CNI_BIN)"
cat >"$dir/cni/10-pods.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$dir/ipam", "ranges": [[{"subnet": "$(pod_cidr "$n")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
# restrict_oom_score_adj: a container may not be allowed negative scores.
cat >"$dir/containerd.toml" <<TOML
version = 2
root = "$dir/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$dir/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:kit"
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$cni_bin"
    conf_dir = "$dir/cni"
TOML
# failCgroupV1: by default a kubelet of 1.35 and later refuses cgroup v1.
# eviction and image garbage collection: a test machine's full disk is not the test's fault.
cat >"$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/$(node_name "$n").crt
tlsPrivateKeyFile: $PKI/$(node_name "$n").key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$(node_netns "$n")
failCgroupV1: false
failSwapOn: false
clusterDomain: cluster.local
clusterDNS: [$SERVICE_NET.0.10]
resolvConf: ""
volumePluginDir: /var/lib/kubelet/plugins
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 0%}
syncFrequency: 10s
nodeStatusUpdateFrequency: 4s
YAML
# conntrack: its limits are the machine's, not the node's to set.
cat >"$dir/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $PKI/proxy.kubeconfig}
mode: ${KIT_PROXY_MODE:-nftables}
clusterCIDR: $POD_NET.0.0/16
hostnameOverride: $(node_name "$n")
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML

run() { # NAME COMMAND...: the pid in the file is the node's, for kit node N kill
  "${@:2}" >"$dir/log/$1.log" 2>&1 </dev/null &
  echo $! >"$dir/pid/$1"
}

run containerd containerd -c "$dir/containerd.toml"
await "$WAIT" containerd ctr -n k8s.io version
ctr -n k8s.io images import "$PAUSE"
await "$WAIT" kube-apiserver "$BIN/kubectl" --kubeconfig "$STATE/kubeconfig" --request-timeout=2s get --raw /readyz
run kube-proxy "$BIN/kube-proxy" --config="$dir/proxy.yaml"
# --node-ip: may not be loopback, or pods on the host's network fail.
run kubelet "$BIN/kubelet" --config="$dir/kubelet.yaml" --kubeconfig="$PKI/$(node_name "$n").kubeconfig" \
  --hostname-override="$(node_name "$n")" --node-ip="$(node_ip "$n")"
wait # and reap what the pods orphan; nothing is started again, so that a test can kill it
