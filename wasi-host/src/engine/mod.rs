//! The engines behind [`Engine`]: three of them.

mod native;

pub use crate::options::Options;
pub use native::Native;
pub use picolm_engine::Engine;

use crate::Result;
use std::path::Path;

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whatever reads the file or the request in WebAssembly, arithmetic by the kernels of this machine.
    #[cfg(feature = "sandbox")]
    SandboxNative,
    /// All of it in WebAssembly.
    #[cfg(feature = "sandbox")]
    Sandbox,
    /// No sandbox: for files one trusts.
    Native,
}

impl Kind {
    /// All there are, the best first.
    pub const ALL: &[Kind] = &[
        #[cfg(feature = "sandbox")]
        Kind::SandboxNative,
        #[cfg(feature = "sandbox")]
        Kind::Sandbox,
        Kind::Native,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "sandbox")]
            Kind::Sandbox => "sandbox",
            #[cfg(feature = "sandbox")]
            Kind::SandboxNative => "sandbox-native",
            Kind::Native => "native",
        }
    }
}

/// Loads a model.
///
/// # Errors
/// A file that cannot be read or is no model that picolm can run; options that do not suit it; no memory.
pub fn open(kind: Kind, path: &Path, options: &Options) -> Result<Box<dyn Engine>> {
    match kind {
        #[cfg(feature = "sandbox")]
        Kind::Sandbox => Ok(Box::new(crate::sandbox::Sandbox::open(path, options, false)?)),
        #[cfg(feature = "sandbox")]
        Kind::SandboxNative => Ok(Box::new(crate::sandbox::Sandbox::open(path, options, true)?)),
        Kind::Native => Ok(Box::new(Native::open(path, options)?)),
    }
}
