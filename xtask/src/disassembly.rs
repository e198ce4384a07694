//! No fused multiply-add in the binary: it rounds once where the contract (docs/numerics.md) rounds twice.
//!
//! Nobody writes one, since clippy bans `mul_add`, and LLVM makes none by itself today. This reads what it made: every function of
//! ours in the release build, instruction by instruction. Functions of others are left out: compiler_builtins may bring an `fma` for
//! processors that can do it, which is right and which we never call. So the names must be there: the build keeps its symbols, and
//! mangles them by the v0 scheme, which names the crate a generic function was made for: `sort` with a closure of ours is ours.
//! Inlined code belongs to its caller.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use crate::process::{Counts, build_dir, cargo, run};

/// One test: the release build of `picolm`, taken apart.
pub(crate) fn test() -> Result<Counts> {
    let dir = build_dir("disassembly");
    let mut build = cargo("build");
    build.args(["--profile", "profiling", "--package", "picolm", "--target-dir"]).arg(&dir);
    run(build.env("RUSTFLAGS", "-Csymbol-mangling-version=v0"))?;
    let path = dir.join("profiling/picolm");
    let read = read(&fs::read(&path).with_context(|| path.display().to_string())?)?;

    println!("{} instructions in {} functions of ours", read.instructions, read.functions);
    read.kernels.iter().for_each(|(module, multiplies)| println!("{module}: {multiplies} float multiplies"));
    ensure!(read.kernels.values().any(|&multiplies| multiplies > 0), "no kernel was found in {}", path.display());
    read.fused.iter().for_each(|fault| println!("{fault}"));
    match read.fused.len() {
        0 => Ok(Counts { passed: 1, failed: 0 }),
        n => bail!("{n} fused multiply-adds"),
    }
}

/// What an executable has of ours.
#[derive(Default)]
struct Read {
    functions: usize,
    instructions: usize,
    /// Packed float multiplies by module of `kernels::isa`: proof that the kernels are among the functions.
    kernels: BTreeMap<String, usize>,
    /// Each fused multiply-add, and where it is.
    fused: Vec<String>,
}

/// Takes an ELF executable for x86-64 apart.
fn read(file: &[u8]) -> Result<Read> {
    let elf = object::File::parse(file)?;
    let mut read = Read::default();
    for symbol in elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let mangled = symbol.name()?;
        let Some(section) = symbol.section_index().filter(|_| is_ours(mangled)) else { continue };
        let name = format!("{:#}", rustc_demangle::demangle(mangled));
        let code = elf.section_by_index(section)?.data_range(symbol.address(), symbol.size())?;
        let code = code.with_context(|| format!("{name} lies outside of its section"))?;
        let mnemonics = disassemble(code, symbol.address()).with_context(|| name.clone())?;
        read.functions += 1;
        read.instructions += mnemonics.len();
        if let Some(module) = isa_module(&name) {
            *read.kernels.entry(module.to_string()).or_default() +=
                mnemonics.iter().filter(|(_, m)| matches!(m, Mnemonic::Mulps | Mnemonic::Vmulps)).count();
        }
        let fused = mnemonics.iter().filter(|(_, mnemonic)| is_fused(*mnemonic));
        read.fused.extend(fused.map(|(at, mnemonic)| format!("{at:#x}: {mnemonic:?} in {name}")));
    }
    Ok(read)
}

/// Whether a mangled name has a crate of ours in it: as the function's own, its type's or the one it was instantiated for.
fn is_ours(mangled: &str) -> bool {
    ["6picolm", "11picolm_core", "14picolm_kernels"].iter().any(|name| mangled.contains(name))
}

/// `avx2` of `picolm_kernels::isa::x86_64::avx2::matmul`
fn isa_module(name: &str) -> Option<&str> {
    let (_, rest) = name.split_once("picolm_kernels::isa::x86_64::")?;
    rest.split_once("::").map(|(module, _)| module)
}

/// The instructions of a function, with their addresses.
fn disassemble(code: &[u8], address: u64) -> Result<Vec<(u64, Mnemonic)>> {
    let decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    decoder
        .into_iter()
        .map(|instruction| match instruction.is_invalid() {
            false => Ok((instruction.ip(), instruction.mnemonic())),
            true => bail!("what stands at {:#x} is no instruction known to iced-x86", instruction.ip()),
        })
        .collect()
}

/// FMA3, FMA4, AVX-512 (halves and complex numbers too) and the Xeon Phi's. `vpmadd…` are sums of integers.
fn is_fused(mnemonic: Mnemonic) -> bool {
    let name = format!("{mnemonic:?}").to_lowercase();
    ["fmadd", "fmsub", "fnmadd", "fnmsub", "fcmadd"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The fused ones in some bytes of machine code.
    fn fused(code: &[u8]) -> Vec<Mnemonic> {
        disassemble(code, 0x1000).unwrap().into_iter().map(|(_, mnemonic)| mnemonic).filter(|m| is_fused(*m)).collect()
    }

    #[test]
    fn a_fused_multiply_add_is_found_among_others() {
        let apart = [0xc5, 0xf0, 0x59, 0xc2, 0xc5, 0xf8, 0x58, 0xc3]; // vmulps xmm0, xmm1, xmm2; vaddps xmm0, xmm0, xmm3
        let integers = [0xc4, 0xe2, 0x71, 0x04, 0xc2, 0xc5, 0xf1, 0xf5, 0xc2]; // vpmaddubsw, vpmaddwd
        assert_eq!(fused(&[&apart[..], &integers].concat()), []);
        let fma3 = [0xc4, 0xe2, 0x71, 0xb8, 0xc2]; // vfmadd231ps xmm0, xmm1, xmm2
        assert_eq!(fused(&[&apart[..], &fma3, &integers].concat()), [Mnemonic::Vfmadd231ps]);
        let avx512 = [0x62, 0xf2, 0x75, 0x48, 0xbc, 0xc2]; // vfnmadd231ps zmm0, zmm1, zmm2
        let fma4 = [0xc4, 0xe3, 0x71, 0x68, 0xc2, 0x30]; // vfmaddps xmm0, xmm1, xmm2, xmm3
        assert_eq!(fused(&[&avx512[..], &fma4].concat()), [Mnemonic::Vfnmadd231ps, Mnemonic::Vfmaddps]);
    }

    #[test]
    fn bytes_that_are_no_instruction_are_an_error() {
        assert!(disassemble(&[0x90, 0x06], 0x1000).unwrap_err().to_string().contains("0x1001"));
    }

    /// The names in Intel's and AMD's manuals, put together from their parts.
    #[test]
    fn all_forms_are_known() {
        let mut names: HashSet<String> =
            ["v4fmaddps", "v4fmaddss", "v4fnmaddps", "v4fnmaddss", "vfmadd233ps"].map(String::from).into();
        for operation in ["fmadd", "fmsub", "fnmadd", "fnmsub"] {
            for ty in ["ps", "pd", "ss", "sd"] {
                names.extend(["", "132", "213", "231"].map(|order| format!("v{operation}{order}{ty}")));
            }
            for ty in ["ph", "sh"] {
                names.extend(["132", "213", "231"].map(|order| format!("v{operation}{order}{ty}")));
            }
        }
        for operation in ["fmaddsub", "fmsubadd"] {
            names.extend(["ps", "pd"].map(|ty| format!("v{operation}{ty}")));
            for ty in ["ps", "pd", "ph"] {
                names.extend(["132", "213", "231"].map(|order| format!("v{operation}{order}{ty}")));
            }
        }
        names.extend(["vfmaddcph", "vfmaddcsh", "vfcmaddcph", "vfcmaddcsh"].map(String::from));
        let found = Mnemonic::values().filter(|m| is_fused(*m)).map(|m| format!("{m:?}").to_lowercase());
        assert_eq!(found.collect::<HashSet<_>>(), names);
    }

    #[test]
    fn names_tell_whose_a_function_is() {
        // picolm_core::x, and alloc's Vec::push instantiated for picolm.
        assert!(is_ours("_RNvCs1234_11picolm_core1x"));
        assert!(is_ours("_RNvMs_NtCs9_5alloc3vecINtB4_3VecfE4pushCs1234_6picolm"));
        assert!(!is_ours("_RNvNtCs5_17compiler_builtins4math3fma"));
        assert_eq!(isa_module("picolm_kernels::isa::x86_64::avx2::matmul"), Some("avx2"));
        assert_eq!(isa_module("<picolm_kernels::isa::x86_64::avx512::Avx512 as T>::f"), Some("avx512"));
        assert_eq!(isa_module("picolm_core::kernels::reference::matmul"), None);
    }
}
