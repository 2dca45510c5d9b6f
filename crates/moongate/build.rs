//! Packs the addresses that the loader has to adjust (`DT_RELR`), where the loader of this machine knows that form: they take 1.4 MB of
//! each process otherwise.

use std::env;
use std::process::Command;

/// The first version of glibc whose loader knows the form.
const FIRST: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_glibc = |name: &str| env::var(name).is_ok_and(|value| value.ends_with("-linux-gnu"));
    // The program that is built for another machine may meet an older loader.
    let is_for_here = env::var("TARGET") == env::var("HOST") && is_glibc("TARGET");
    if is_for_here && glibc().is_some_and(|version| version >= FIRST) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    // A third number may follow.
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
