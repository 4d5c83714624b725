#!/bin/sh
# What `cargo xtask soak` gives cargo as RUSTC_WRAPPER: `rustc.sh RUSTC ARGUMENT…`.
#
# Cryptography goes without the coverage counters: every other input runs other paths through its arithmetic, which would fill the
# corpus with what is no news, and take ten times as long.
case " $* " in
*" --crate-name curve25519_dalek "* | *" --crate-name ed25519_dalek "* | *" --crate-name sha2 "* | *" --crate-name ring "*)
    for argument; do
        shift
        case $argument in
        -Cpasses=sancov-module | -Cllvm-args=-sanitizer-coverage-*) ;;
        *) set -- "$@" "$argument" ;;
        esac
    done
    ;;
esac
exec "$@"
