#!/usr/bin/env bash
# Builds a genuine Kubernetes control plane from Debian bookworm's packages alone: no Docker, no Go module download.
#
#   build.sh         kube-apiserver, kube-controller-manager, kubectl, etcd
#   build.sh node    the same, and kubelet, kube-scheduler, kube-proxy
#
# The last line of stdout is the folder with the binaries. It is named after the hash of this file, so an edited
# recipe builds anew and an unchanged one takes no time. Nothing is written to /etc or /usr, except that a missing
# dpkg-dev is installed. Five to eight minutes on two cores, 3 GB of disk meanwhile, 250 MB afterwards.
set -euo pipefail

export LC_ALL=C
recipe=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-12)
target="${XDG_CACHE_HOME:-$HOME/.cache}/open-autoglm/controlplane-$recipe"
work="$target/work"
programs=(kube-apiserver kube-controller-manager kubectl)
if [[ "${1:-}" == node ]]; then
    programs+=(kubelet kube-scheduler kube-proxy)
fi

say() { echo "controlplane: $*" >&2; }

is_complete() {
    local program
    for program in etcd "${programs[@]}"; do
        [[ -x "$target/$program" ]] || return 1
    done
}

install_build_tools() {
    command -v dpkg-source patch xz >/dev/null && return
    say "installing dpkg-dev"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends dpkg-dev xz-utils >&2
}

# apt with its own lists, which know source packages too; /etc/apt keeps its mirror and stays as it is.
apt_privately() {
    apt-get -q -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts="$work/apt/parts" \
        -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root "$@" >&2
}

fetch() {
    mkdir -p "$work"/apt/{parts,lists/partial,cache/archives/partial}
    local file
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [[ -f "$file" ]] || continue
        sed -n 's/^deb \(.*\)/deb \1\ndeb-src \1/p' "$file" >"$work/apt/parts/$(basename "$file" .list).list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [[ -f "$file" ]] || continue
        sed 's/^Types:.*/Types: deb deb-src/' "$file" >"$work/apt/parts/$(basename "$file")"
    done
    : >"$work/apt/sources.list"
    apt_privately update
    mkdir -p "$work/packages" && cd "$work/packages"
    apt_privately source --download-only kubernetes
    apt_privately download golang-1.19-go golang-1.19-src golang-github-modern-go-reflect2-dev etcd-server
}

unpack() {
    say "unpacking"
    rm -rf "$work/root" "$work/go" && mkdir -p "$work/root" "$work/go/src/k8s.io"
    local package
    for package in "$work"/packages/*.deb; do
        dpkg-deb -x "$package" "$work/root"
    done
    install -m 755 "$work/root/usr/bin/etcd" "$target/etcd"
    dpkg-source -q --no-check -x "$work"/packages/kubernetes_*.dsc "$work/go/src/k8s.io/kubernetes" >&2
    # The vendored reflect2 1.0.1 reads runtime internals that Go 1.18 moved; 1.0.2 knows both.
    local vendored="$work/go/src/k8s.io/kubernetes/vendor/github.com/modern-go/reflect2"
    rm -rf "$vendored"
    cp -r "$work/root/usr/share/gocode/src/github.com/modern-go/reflect2" "$vendored"
}

configure_go() {
    export GOROOT="$work/root/usr/lib/go-1.19" GOPATH="$work/go" GOCACHE="$work/go-cache" GOFLAGS='' GOTMPDIR="$work"
    export GO111MODULE=off GOPROXY=off CGO_ENABLED=0 PATH="$work/root/usr/lib/go-1.19/bin:$PATH"
    cd "$GOPATH/src/k8s.io/kubernetes"
}

# The only generated code that the source package leaves out.
generate_openapi() {
    say "generating the OpenAPI definitions"
    go build -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
    local packages
    packages=$(find -L cmd pkg plugin vendor/k8s.io -name '*.go' -print0 |
        xargs -0 grep -l '^// *+k8s:openapi-gen=' |
        grep -Ev '^vendor/k8s.io/(code-generator|sample-apiserver)/|/testdata/' |
        xargs -n1 dirname | sort -u | sed 's|^|k8s.io/kubernetes/|' | paste -sd,)
    "$work/openapi-gen" --logtostderr -i "$packages" -p k8s.io/kubernetes/pkg/generated/openapi \
        -O zz_generated.openapi -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt \
        -r "$work/violations.report" >&2
}

compile() {
    local version package flags='-s -w' program
    version=$(sed -n 's/^Version: .*really\([0-9.]*\)-.*/v\1/p' "$work"/packages/kubernetes_*.dsc | head -1)
    : "${version:?the version of the kubernetes source package is not of the form …really1.20.2-…}"
    for package in component-base/version client-go/pkg/version; do
        package="k8s.io/kubernetes/vendor/k8s.io/$package"
        flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=20"
        flags+=" -X $package.gitTreeState=archive"
    done
    for program in "${programs[@]}"; do
        [[ -x "$target/$program" ]] && continue
        say "compiling $program $version"
        go build -tags providerless -ldflags "$flags" -o "$work/$program" "./cmd/$program"
        mv "$work/$program" "$target/$program"
    done
}

mkdir -p "$target"
exec 9>"$target/lock"
flock 9 # a second caller waits for the first and finds the work done
if ! is_complete; then
    started=$SECONDS
    install_build_tools
    fetch
    unpack
    configure_go
    generate_openapi
    compile
    chmod -R u+w "$work" && rm -rf "$work"
    say "built in $((SECONDS - started)) s"
fi
echo "$target"
