//! What runs inside the sandbox: `picolm-engine` as a component of `wit/engine.wit`, or as a command for any WASI runtime.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128", feature = "command"))]
mod command;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128", not(feature = "command")))]
mod component;
