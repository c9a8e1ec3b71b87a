//! The `repo` program: everything is in the library, the command line in its module `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    repo::cli::main(std::env::args_os())
}
