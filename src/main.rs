//! The `factum` binary.

use mimalloc::MiMalloc;

/// A request is some dozens of small allocations, made on one thread and freed on another; the system's allocator takes several times
/// as long for them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    factum::cli::main()
}
