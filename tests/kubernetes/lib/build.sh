# Packages, Go and binaries. Sourced by kit.
# shellcheck shell=bash

KUBERNETES_VERSION=1.37.2
HELM_VERSION=4.3.1
GO_VERSION=1.26.8 # fetched where the machine's is older than the modules ask for
MODULES=(kube helm coredns pause)
KUBE_PARTS=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)
PACKAGES=(
  containerd runc containernetworking-plugins # what runs pods
  nftables iptables conntrack iproute2        # kube-proxy, portmap, the nodes' networks
  openssl procps python3 util-linux           # certificates, ps, mkoci.py, nsenter and unshare
)

install_packages() {
  need_root
  # Any Go will do, and one from elsewhere stays the only one.
  command -v go >/dev/null || PACKAGES+=(golang-go)
  export DEBIAN_FRONTEND=noninteractive
  timeout 300 apt-get update -qq
  timeout 600 apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}"
  say "installed: ${PACKAGES[*]}"
}

# Puts a Go that is new enough for the modules first in PATH, and lets it be no other: the caches' names hold its version.
use_go() {
  local asked present
  need_commands go
  export GOTOOLCHAIN=local GOWORK=off
  asked=$(awk '$1 == "go" { print $2 }' "$KIT_HOME/kube/go.mod")
  present=$(go env GOVERSION)
  [[ $(printf '%s\n' "$asked" "${present#go}" | sort -V | head -n 1) != "$asked" ]] || return 0
  present=$KIT_CACHE/go-$GO_VERSION
  [[ -d $present ]] || fetch_go "$present"
  unset GOROOT
  PATH=$present/bin:$PATH
}

# Go's releases are modules too, which any Go with modules can fetch and check. Since a module keeps no modes, and may hold
# no other module, what Go 1.21 and later do by themselves is left to do.
fetch_go() { # FOLDER
  local module work
  module=golang.org/toolchain@v0.0.1-go$GO_VERSION.$(go env GOOS)-$(go env GOARCH)
  say "fetching Go $GO_VERSION"
  mkdir -p "$KIT_CACHE"
  work=$(mktemp -d "$KIT_CACHE/fetching.XXXXXX")
  (
    cd "$work" && timeout 900 go mod download "$module" && cp -r "$(go env GOMODCACHE)/$module" go && chmod -R u+w go &&
      chmod +x go/bin/* go/pkg/tool/*/* && find go -name _go.mod -execdir mv {} go.mod \; &&
      { mv -T go "$1" 2>/dev/null || [[ -d $1 ]]; } # another kit may have been first
  ) || { rm -rf "$work"; fail "Go $GO_VERSION could not be fetched, and the machine's own is $(go env GOVERSION)"; }
  rm -rf "$work"
}

# Everything that a module's binaries come from, so that a change of any builds anew.
cache_folder() { # MODULE
  local hash
  hash=$(
    cd "$KIT_HOME" || exit
    {
      go env GOVERSION GOARCH
      sha256sum "$1"/* lib/build.sh
      [[ ! $1 =~ ^(coredns|pause)$ ]] || sha256sum mkoci.py
    } | sha256sum
  )
  echo "$KIT_CACHE/$1-${hash:0:16}"
}

need_build() { # MODULE...
  local module
  use_go
  for module; do
    [[ -d $(cache_folder "$module") ]] || fail "$module is not built: run kit build"
  done
}

go_build() { # MODULE OUTPUT LDFLAGS [PACKAGE]
  say "building $1"
  # -trimpath makes the compiled packages the same for every path and user, so
  # that Go's cache serves them all; no workspace or flags of the caller's.
  # GOTMPDIR: told to end, go leaves a gigabyte, which goes with the folder.
  (cd "$KIT_HOME/$1" && CGO_ENABLED=0 GOFLAGS='' GOTMPDIR=${2%/*} nice -n 19 go build \
    -trimpath -buildvcs=false -ldflags "-s -w $3" -o "$2" "${4:-.}")
}

build_kube() { # FOLDER
  local part version=k8s.io/component-base/version
  # Unstamped, the servers call themselves v0.0.0-master, which clients refuse.
  go_build kube "$1/kube" "-X $version.gitVersion=v$KUBERNETES_VERSION -X $version.gitMajor=1 -X $version.gitMinor=${KUBERNETES_VERSION:2:2} -X $version.gitTreeState=clean"
  for part in "${KUBE_PARTS[@]}"; do ln -s kube "$1/$part"; done
}
build_helm() { go_build helm "$1/helm" "-X helm.sh/helm/v4/internal/version.version=v$HELM_VERSION" helm.sh/helm/v4/cmd/helm; }
build_coredns() { build_image coredns "$1"; }
build_pause() { build_image pause "$1"; }
build_image() { # MODULE FOLDER
  go_build "$1" "$2/$1" ""
  python3 "$KIT_HOME/mkoci.py" -o "$2/$1.tar" "localhost/$1:kit" "$2/$1" >/dev/null
}

build() { # MODULE...: each in a folder of its own, which appears when it is whole
  local module folder work missing=0
  need_commands python3 flock
  use_go
  for module; do [[ -d $(cache_folder "$module") ]] || missing=1; done
  # What is there need not wait for what another builds.
  [[ $missing == 1 ]] || { for module; do cache_folder "$module"; done; return; }
  mkdir -p "$KIT_CACHE"
  exec 9>"$KIT_CACHE/lock"
  flock -w 3600 9 || fail "another build holds $KIT_CACHE/lock"
  for module; do
    folder=$(cache_folder "$module")
    if [[ ! -d $folder ]]; then
      work=$(mktemp -d "$KIT_CACHE/building.XXXXXX")
      # shellcheck disable=SC2064 # the folder of now
      trap "rm -rf '$work'" EXIT
      chmod 755 "$work"
      "build_$module" "$work"
      mv -T "$work" "$folder"
      trap - EXIT
      say "built $module"
    fi
    echo "$folder"
  done
  exec 9>&-
}
