//! Builds the peers that are written in C: the loops by hand, and those over
//! libevent and libev where these are installed.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-changed=Cargo.lock");
    c(&["c/raw_ring.c", "c/raw_echo.c"], "bench_raw");

    for (header, library, cfg) in [
        ("event2/event.h", "event", "have_libevent"),
        ("ev.h", "ev", "have_libev"),
    ] {
        println!("cargo::rustc-check-cfg=cfg({cfg})");
        if let Some(place) = find(header) {
            c(&[&format!("c/lib{library}.c")], &format!("bench_{library}"));
            // After the code that needs it, which is where a linker looks for it.
            println!("cargo::rustc-link-search=native={}", place.display());
            println!("cargo::rustc-link-lib=dylib={library}");
            println!("cargo::rustc-cfg={cfg}");
        }
    }
    record_versions();
    record_compilers();
}

fn c(files: &[&str], name: &str) {
    cc::Build::new()
        .files(files)
        .opt_level(2)
        .warnings(true)
        .compile(name);
}

/// Where the library of a header is: what pkg-config knows (libev has no file for
/// it), or where such things are.
fn find(header: &str) -> Option<PathBuf> {
    if header.starts_with("event2") {
        let found = pkg_config::Config::new()
            .cargo_metadata(false)
            .probe("libevent");
        if let Ok(library) = found {
            let place = library.link_paths.into_iter().next();
            return Some(place.unwrap_or_else(|| PathBuf::from("/usr/lib")));
        }
    }
    let roots = ["/usr", "/usr/local", "/opt/homebrew"].map(PathBuf::from);
    let root = roots
        .into_iter()
        .find(|root| root.join("include").join(header).exists())?;
    Some(root.join("lib"))
}

/// Gives the versions in Cargo.lock to the program, as `name version` lines.
fn record_versions() {
    let lock = fs::read_to_string("Cargo.lock").unwrap_or_default();
    let mut versions = String::new();
    let mut name = "";
    for line in lock.lines() {
        let value = |key: &str| {
            let value = line.strip_prefix(key)?.strip_prefix(" = \"")?;
            value.strip_suffix('"')
        };
        if let Some(value) = value("name") {
            name = value;
        }
        if let Some(version) = value("version") {
            versions += &format!("{name} {version}\n");
        }
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("versions"), versions).expect("OUT_DIR can be written");
}

/// The versions of the compilers, for the tables.
fn record_compilers() {
    let first_line = |program: String| {
        let output = Command::new(program).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.lines().next()?.to_owned())
    };
    let rustc = env::var("RUSTC").unwrap_or("rustc".to_owned());
    let cc = cc::Build::new().get_compiler().path().display().to_string();
    for (variable, program) in [("BENCH_RUSTC", rustc), ("BENCH_CC", cc)] {
        let version = first_line(program).unwrap_or_default();
        println!("cargo::rustc-env={variable}={version}");
    }
}
