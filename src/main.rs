//! The trustsync program: see the library's essay for how it works, and README.md for how it is used.

use std::process::ExitCode;

fn main() -> ExitCode {
    trustsync::commands::main().into()
}
