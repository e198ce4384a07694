//! `picolm-host`: see [`picolm_host::cli`].

fn main() -> std::process::ExitCode {
    picolm_host::cli::main()
}
