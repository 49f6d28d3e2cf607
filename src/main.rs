//! The `tapevault` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    tapevault::cli::main()
}
