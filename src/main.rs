//! The `factum` binary.

fn main() -> std::process::ExitCode {
    factum::cli::main()
}
