//! How fast tapevault is, beside the tools that everybody has. `tests/bench/run` runs it; it prints
//! and holds nothing. `docs/performance.md` says what each figure means.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "figures are for people")]

mod feed;
mod memory;
mod place;
mod restore;
mod small;
mod tools;

use std::env;

/// The benchmarks, by the names that the command line takes.
const ALL: [(&str, fn()); 4] = [
    ("feed", feed::run),
    ("small", small::run),
    ("memory", memory::run),
    ("restore", restore::run),
];

fn main() {
    // Cargo adds options of its own.
    let named: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for name in &named {
        assert!(ALL.iter().any(|(known, _)| known == name), "there is no benchmark {name}");
    }
    for (name, run) in ALL {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            println!("== {name}");
            run();
        }
    }
}
