#!/usr/bin/env bash
# Passes every test of the project, on a fresh Debian with Rust (https://rustup.rs): tests/run.sh [--long] [--core]
#
# It says what it does, installs the tools that are missing, and ends with the test runner's closing line.
#   --long    the soak: 1,000,000 simulated power cuts and 2,000 kills in place of 50,000 and 100 (some hours)
#   --core    without SQL and exports, and without what reads their files (a third of the build)
# CARGO_TARGET_DIR says where to build, CUTS and KILLS how long to try, SEED=n replays one random run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

NEXTEST_VERSION=0.9.143
DENY_VERSION=0.20.2
OPENID_PROVIDER=oidc-provider@8.8.1
READERS=(duckdb==2.0.1 pyarrow==26.0.1 pandas==3.1.1 polars==2.1.0 'moto[server]==5.2.5' 'PyJWT[crypto]==2.15.1'
    opentelemetry-proto==1.45.2 grpcio==1.85.3 prometheus-client==0.26.0)
profile=ci
features=()

usage() { sed -n '2,7s/^# \{0,1\}//p' tests/run.sh; }

for argument in "$@"; do
    case "$argument" in
        --long)
            profile=long
            export CUTS="${CUTS:-1000000}" KILLS="${KILLS:-2000}"
            ;;
        --core) features=(--no-default-features) ;;
        -h | --help) usage && exit 0 ;;
        *) echo "unknown argument: $argument" >&2 && usage >&2 && exit 2 ;;
    esac
done

scratch="$(mktemp -d)"
started=$SECONDS
current=""
notes=()

finish() {
    local status=$?
    rm -rf "$scratch"
    [[ $status -eq 0 || -z "$current" ]] || printf '\n== FAILED: %s (after %d s in all)\n' "$current" $((SECONDS - started)) >&2
}
trap finish EXIT

# step TITLE COMMAND…: says what it does and how long it took; what fails ends everything (`set -e`).
step() {
    local from=$SECONDS
    current="$1"
    shift
    printf '\n== %s\n   $ %s\n' "$current" "$*"
    "$@"
    printf '== done: %s (%d s)\n' "$current" $((SECONDS - from))
    current=""
}

# note TEXT: said now, and again at the end, because what was not tested must not go unseen.
note() {
    printf '== NOTE: %s\n' "$1"
    notes+=("$1")
}

apt_install() {
    local as_root=()
    [[ $EUID -eq 0 ]] || as_root=(sudo -n)
    command -v apt-get > /dev/null || return 1
    [[ $EUID -eq 0 ]] || sudo -n true 2> /dev/null || return 1
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" > "$scratch/apt.log" 2>&1 && return 0
    "${as_root[@]}" apt-get update >> "$scratch/apt.log" 2>&1 || return 1
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >> "$scratch/apt.log" 2>&1
}

# tool NAME VERSION: a cargo subcommand, as it is if there is one, else built once.
tool() {
    if ! "$1" --version > /dev/null 2>&1 && ! cargo "${1#cargo-}" --version > /dev/null 2>&1; then
        echo "   $1 is missing: building $2 (some minutes, once)"
        (cd "$scratch" && env -u CARGO_TARGET_DIR cargo install --locked --quiet "$1@$2")
    fi
    echo "   $1: $(cargo "${1#cargo-}" --version | head -n 1)"
}

find_tools() {
    # Also where rustup was installed a moment ago and no shell has read its profile yet.
    PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    command -v cargo > /dev/null || { echo "   cargo is missing: install Rust from https://rustup.rs" >&2 && return 1; }
    # Through rustup, this fetches the compiler that rust-toolchain.toml names.
    echo "   $(rustc --version)"
    command -v cc > /dev/null || apt_install gcc libc6-dev || { echo "   a C compiler is missing: apt-get install gcc libc6-dev" >&2 && return 1; }
    command -v curl > /dev/null || apt_install curl || { echo "   curl is missing: apt-get install curl" >&2 && return 1; }
    command -v strace > /dev/null || apt_install strace || note "no strace here and no way to install it: the tests that fail system calls of a real process are skipped"
    find_postgres
    find_promtool
    [[ ${#features[@]} -ne 0 ]] || find_readers
    find_openid_provider
    tool cargo-nextest "$NEXTEST_VERSION"
    tool cargo-deny "$DENY_VERSION"
}

newest_postgres() {
    local folder
    for folder in /usr/lib/postgresql/*/bin "$(dirname "$(command -v initdb || echo none)")"; do
        [[ ! -x "$folder/initdb" || ! -x "$folder/postgres" ]] || echo "$folder"
    done | sort -V | tail -n 1
}

# Tests make clusters of their own, in folders that go with them, on free ports; all that they need is the programs. As root they run
# them as the user postgres, which the package makes.
find_postgres() {
    local programs
    programs="$(newest_postgres)"
    if [[ -z "$programs" ]]; then
        echo "   PostgreSQL is missing: installing Debian's postgresql"
        apt_install postgresql || true
        programs="$(newest_postgres)"
    fi
    if [[ -n "$programs" ]]; then
        echo "   $("$programs/postgres" --version), started by the tests themselves"
    else
        note "no PostgreSQL here and no way to install it: the tests of projections into Postgres are skipped"
    fi
}

# Prometheus' own tool reads measurements, rules and their tests. Nothing of the package is started.
find_promtool() {
    if ! command -v promtool > /dev/null; then
        echo "   promtool is missing: installing Debian's prometheus"
        apt_install prometheus || { echo "   promtool is missing: apt-get install prometheus" >&2 && return 1; }
    fi
    echo "   $(promtool --version 2>&1 | head -n 1)"
}

# DuckDB, pyarrow, pandas, Polars and an S3-compatible server read what Factum has written, PyJWT its tokens, the messages of OpenTelemetry and
# the client of Prometheus what it tells of itself; all from PyPI. They get an environment of
# their own below the folder of the build, once (0.9 GB); the tests find it there.
find_readers() {
    local readers="${CARGO_TARGET_DIR:-target}/readers" imports="import cryptography, duckdb, grpc, jwt, moto, opentelemetry.proto, pandas, polars, prometheus_client, pyarrow.parquet"
    if ! "$readers/bin/python" -c "$imports" 2> /dev/null; then
        echo "   the lake's readers are missing: installing $(printf '%s ' "${READERS[@]}")into $readers (some minutes, once)"
        command -v python3 > /dev/null && python3 -c 'import ensurepip, venv' 2> /dev/null || apt_install python3-venv || true
        rm -rf "$readers"
        python3 -m venv "$readers" > "$scratch/readers.log" 2>&1 &&
            "$readers/bin/python" -m pip install --quiet --disable-pip-version-check "${READERS[@]}" >> "$scratch/readers.log" 2>&1 || true
    fi
    if "$readers/bin/python" -c "$imports" 2> /dev/null; then
        echo "   $("$readers/bin/python" -c 'import duckdb, polars, pyarrow; print("DuckDB", duckdb.__version__, "- pyarrow", pyarrow.__version__, "- Polars", polars.__version__)')"
    else
        tail -n 3 "$scratch/readers.log" 2> /dev/null || true
        note "no Python with pip here, or no PyPI to be reached: the tests in which others read the lake, tokens or telemetry, and those with S3, are skipped"
    fi
}

# An issuer that is not ours, from npm, for a test that changes its keys and stops it. It gets a folder below that of the build, once.
find_openid_provider() {
    local folder="${CARGO_TARGET_DIR:-target}/openid"
    if [[ ! -d "$folder/node_modules/oidc-provider" ]]; then
        echo "   an OpenID provider is missing: installing $OPENID_PROVIDER into $folder"
        command -v npm > /dev/null || apt_install nodejs npm || true
        rm -rf "$folder"
        mkdir -p "$folder"
        npm install --prefix "$folder" --silent --no-audit --no-fund "$OPENID_PROVIDER" > "$scratch/openid.log" 2>&1 || rm -rf "$folder"
    fi
    if [[ -d "$folder/node_modules/oidc-provider" ]] && command -v node > /dev/null; then
        echo "   $OPENID_PROVIDER on node $(node --version)"
    else
        note "no node with npm here, or no registry of theirs to be reached: the test with a real OpenID provider is skipped"
    fi
}

# The advisories are a clone of a repository on the network; without it there is nothing to check against.
check_advisories() {
    local log="$scratch/advisories.log" status=0
    timeout 60 cargo deny check --hide-inclusion-graph advisories > "$log" 2>&1 || status=$?
    if [[ $status -eq 0 ]]; then
        tail -n 1 "$log"
    elif [[ $status -eq 124 ]] || grep -q 'failed to fetch advisory database' "$log"; then
        note "advisories were not checked: their database cannot be reached from here"
    else
        cat "$log" && return 1
    fi
}

run_tests() {
    cargo nextest run --locked --workspace ${features[@]+"${features[@]}"} --profile "$profile" --no-tests=fail 2>&1 | tee "$scratch/nextest.log"
}

build_docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace ${features[@]+"${features[@]}"} --no-deps
}

run_demo() {
    cargo run --locked --quiet ${features[@]+"${features[@]}"} -- demo --once --data "$scratch/demo"
}

step "tools" find_tools
step "formatting" cargo fmt --all --check
step "lints, as released" cargo clippy --locked --workspace ${features[@]+"${features[@]}"} -- -D warnings
step "lints, with tests and benches" cargo clippy --locked --workspace ${features[@]+"${features[@]}"} --all-targets -- -D warnings
[[ ${#features[@]} -ne 0 ]] || step "lints, without SQL and exports" cargo clippy --locked --workspace --no-default-features -- -D warnings
step "licences, bans and sources of dependencies" cargo deny check --hide-inclusion-graph licenses bans sources
step "known advisories" check_advisories
step "tests" run_tests
step "examples in the documentation" cargo test --locked --workspace ${features[@]+"${features[@]}"} --doc
step "documentation" build_docs
step "the demo, once" run_demo

printf '\n== everything passed in %d s\n' $((SECONDS - started))
for text in ${notes[@]+"${notes[@]}"}; do
    printf '== NOTE: %s\n' "$text"
done
grep 'Summary \[' "$scratch/nextest.log" | tail -n 1
