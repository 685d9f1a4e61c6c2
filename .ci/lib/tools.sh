# Programs that are not a part of the repository. Sourced, from its root, with `set -euo pipefail`.
# shellcheck shell=bash

# Makes sure that a program of crates.io is there: `cargo_tool PROGRAM CRATE VERSION [cargo install's arguments…]`. One on the
# PATH is taken, whatever its version; else it is built once, into target/tools, without optimisation: it runs for seconds.
cargo_tool() {
    local program=$1 crate=$2 version=$3
    shift 3
    PATH=$PWD/target/tools/bin:$PATH
    command -v "$program" > /dev/null && return
    cargo install --quiet --locked --debug --root "$PWD/target/tools" "$crate" --version "$version" "$@"
}
