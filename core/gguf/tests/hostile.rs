//! GGUF files that broke other readers, built byte by byte: each must be refused with an error that names the place,
//! and in memory bounded by the length of the file. Accepted files beside them prove that it is the hostile part that
//! is refused.

#[path = "../../tests/kept/mod.rs"]
mod kept;

use picolm_gguf::{Error, GgmlType, Gguf, ValueType, Writer};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Peak memory while parsing: a directory entry of 33 bytes or more becomes 112 bytes in a vector that doubles (old and
/// new are alive together: 3 × 112 / 33 ≈ 10); a metadata pair takes less. The constant covers a map's first node.
const PEAK_PER_FILE_BYTE: usize = 12;
const PEAK_CONSTANT: usize = 4096;

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: passes every call on to the system's allocator, unchanged. (The default `realloc` goes through both, so that
// a vector that grows counts twice, as when it cannot grow in place.)
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + layout.size() as isize);
        PEAK.set(PEAK.get().max(LIVE.get()));
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Parses, and checks the memory that took.
#[track_caller]
fn parse(file: &[u8]) -> Result<(), Error> {
    kept::keep("file", file);
    let before = LIVE.get();
    PEAK.set(before);
    let result = Gguf::parse(file).map(drop);
    let peak = (PEAK.get() - before) as usize;
    let bound = PEAK_PER_FILE_BYTE * file.len() + PEAK_CONSTANT;
    assert!(peak <= bound, "parsing {} bytes took {peak} bytes of memory (allowed: {bound})", file.len());
    result
}

#[track_caller]
fn refuse(file: &[u8], expected: Error, place: &str) {
    let error = parse(file).expect_err("this file must be refused");
    assert_eq!(error, expected);
    assert!(error.to_string().contains(place), "{error:?} does not name {place:?}: {error}");
}

/// Bytes in the order of the format.
#[derive(Clone, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    /// Magic, version 3, counts: 24 bytes.
    fn header(n_tensors: u64, n_pairs: u64) -> Self {
        Bytes(b"GGUF".to_vec()).u32(3).u64(n_tensors).u64(n_pairs)
    }

    /// The header of a file of one key, up to and without the value's type.
    fn one_key(key: &str) -> Self {
        Bytes::header(0, 1).str(key.as_bytes())
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u32(self, v: u32) -> Self {
        self.raw(&v.to_le_bytes())
    }

    fn u64(self, v: u64) -> Self {
        self.raw(&v.to_le_bytes())
    }

    fn str(self, s: &[u8]) -> Self {
        self.u64(s.len() as u64).raw(s)
    }

    fn entry(self, name: &[u8], dims: &[u64], type_id: u32, offset: u64) -> Self {
        let shape = dims.iter().fold(self.str(name).u32(dims.len() as u32), |b, &d| b.u64(d));
        shape.u32(type_id).u64(offset)
    }

    /// Zeros to the next multiple of 32, and `n` more: the data section.
    fn data(mut self, n: usize) -> Vec<u8> {
        self.0.resize(self.0.len().next_multiple_of(32) + n, 0);
        self.0
    }
}

/// A file of one tensor "w", with 64 bytes of data.
fn one_tensor(dims: &[u64], type_id: u32, offset: u64) -> Vec<u8> {
    Bytes::header(1, 0).entry(b"w", dims, type_id, offset).data(64)
}

const F32: u32 = 0;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const U32: u32 = 4;

fn truncated(what: &str, needed: u64, file: &[u8]) -> Error {
    Error::Truncated { what: what.into(), needed, len: file.len() as u64 }
}

fn shape(why: &str) -> Error {
    Error::Shape { name: "w".into(), why: why.into() }
}

fn place(start: u64, end: u64, why: &str) -> Error {
    Error::Place { name: "w".into(), start, end, why: why.into() }
}

/// A file with a value of every kind and two tensors.
fn good_file(version: u32) -> Vec<u8> {
    let f32_type = GgmlType::from_name("F32").unwrap();
    let q8_0 = GgmlType::from_name("Q8_0").unwrap();
    Writer::new()
        .version(version)
        .alignment(64)
        .with("a.u8", 1u8)
        .with("a.i16", -2i16)
        .with("a.f64", 0.5f64)
        .with("a.bool", true)
        .with("a.string", "naïve")
        .with("a.bools", [true, false])
        .with("a.strings", ["x", "", "yz"])
        .with("a.nested", [vec![1u16, 2], vec![], vec![3]])
        .tensor("blk.0.weight", q8_0, &[32, 2], [1; 68])
        .tensor("blk.0.norm", f32_type, &[4], [0; 16])
        .finish()
}

mod sizes {
    use super::*;

    #[test]
    fn the_file_the_others_are_bent_from_is_good() {
        assert_eq!(parse(&good_file(2)), Ok(()));
        assert_eq!(parse(&good_file(3)), Ok(()));
        assert_eq!(parse(&one_tensor(&[16], F32, 0)), Ok(()));
        assert_eq!(parse(&Bytes::header(0, 0).0), Ok(()));
    }

    #[test]
    fn files_of_0_4_and_43_bytes() {
        refuse(b"", truncated("the magic number", 4, b""), "byte 0");
        refuse(b"GGUF", truncated("the version", 8, b"GGUF"), "the version");
        // 24 bytes of header, then 19 of the 20 bytes of the one key's name.
        let file = Bytes::header(0, 1).u64(20).raw(b"general.arc").0;
        assert_eq!(file.len(), 43);
        refuse(&file, truncated("a metadata key", 52, &file), "byte 43");
        refuse(&[0; 43], Error::NotGguf, "GGUF");
    }

    #[test]
    fn other_magic_numbers_and_versions() {
        refuse(b"GGML\x03\0\0\0", Error::NotGguf, "GGUF");
        refuse(b"PK\x03\x04", Error::NotGguf, "GGUF");
        for version in [0, 1, 4, u32::MAX] {
            let file = Bytes(b"GGUF".to_vec()).u32(version).u64(0).u64(0).0;
            refuse(&file, Error::Version(version), &version.to_string());
        }
        let big_endian = [b"GGUF".as_slice(), &3u32.to_be_bytes(), &[0; 16]].concat();
        refuse(&big_endian, Error::Version(0x0300_0000), "little-endian");
    }

    #[test]
    fn cut_at_every_byte() {
        for version in [2, 3] {
            let file = good_file(version);
            let header_len = Gguf::parse(&file).unwrap().header_len() as usize;
            let last_data_byte = file.len() - 48; // 16 bytes of "blk.0.norm" padded to 64
            for len in 0..last_data_byte {
                match parse(&file[..len]).expect_err("a cut file must be refused") {
                    Error::Truncated { needed, len: at, .. } => {
                        assert!(len < header_len && at == len as u64 && needed > at, "{len}: {needed} {at}");
                    }
                    Error::Count { offset, .. } => assert!(len < header_len && offset < len as u64, "{len}: {offset}"),
                    Error::Place { end, .. } => assert!(len >= header_len && end > len as u64, "{len}: {end}"),
                    other => panic!("cut at {len}: {other}"),
                }
            }
            assert_eq!(parse(&file[..last_data_byte]), Ok(()), "the last padding may be absent");
        }
    }

    /// Reading only the beginning of a file: the error says how much more is needed, and following it gets there.
    #[test]
    fn a_prefix_asks_for_more() {
        let file = good_file(3);
        let whole = file.len() as u64;
        let header_len = Gguf::parse(&file).unwrap().header_len();
        for len in 0..header_len {
            match Gguf::parse_header(&file[..len as usize], whole) {
                Err(Error::Truncated { needed, .. }) => {
                    assert!(len < needed && needed <= header_len, "{len}: {needed}")
                }
                other => panic!("a prefix of {len} bytes: {other:?}"),
            }
        }
        let gguf = Gguf::parse_header(&file[..header_len as usize], whole).unwrap();
        assert_eq!((gguf.file_len(), gguf.tensors().len()), (whole, 2));
    }

    #[test]
    fn tensor_count_of_2_62() {
        let file = Bytes::header(1 << 62, 0).data(1000);
        refuse(&file, Error::Count { what: "a tensor count", count: 1 << 62, offset: 8 }, "byte 8");
    }

    #[test]
    fn key_count_of_2_62() {
        let file = Bytes::header(0, 1 << 62).data(1000);
        refuse(&file, Error::Count { what: "a key count", count: 1 << 62, offset: 16 }, "byte 16");
    }

    /// Counts times the smallest entry (24 and 13 bytes) that wrap to a small number.
    #[test]
    fn counts_whose_product_wraps() {
        let tensors = u64::MAX / 24 + 1;
        let file = Bytes::header(tensors, 0).data(100);
        refuse(&file, Error::Count { what: "a tensor count", count: tensors, offset: 8 }, "byte 8");
        let keys = u64::MAX / 13 + 1;
        let file = Bytes::header(0, keys).data(100);
        refuse(&file, Error::Count { what: "a key count", count: keys, offset: 16 }, "byte 16");
    }

    #[test]
    fn string_length_of_2_63() {
        const HUGE: u64 = 1 << 63;
        let key = Bytes::header(0, 1).u64(HUGE).data(64);
        refuse(&key, truncated("a metadata key", HUGE + 32, &key), "a metadata key");
        let value = Bytes::one_key("k").u32(STRING).u64(HUGE).data(64);
        refuse(&value, truncated("k", HUGE + 45, &value), "inside k");
        let item = Bytes::one_key("k").u32(ARRAY).u32(STRING).u64(2).str(b"ok").u64(HUGE).data(64);
        refuse(&item, truncated("k", HUGE + 67, &item), "inside k");
        let name = Bytes::header(1, 0).u64(HUGE).data(64);
        refuse(&name, truncated("a tensor name", HUGE + 32, &name), "a tensor name");
        let wraps = Bytes::header(0, 1).u64(u64::MAX).data(64);
        refuse(&wraps, truncated("a metadata key", u64::MAX, &wraps), "a metadata key");
    }

    #[test]
    fn array_length_of_2_62() {
        // 24 header, 9 key, 4 type, 4 element type: the length is at 41.
        for element in 0..=12 {
            let file = Bytes::one_key("k").u32(ARRAY).u32(element).u64(1 << 62).data(64);
            refuse(&file, Error::Count { what: "an array", count: 1 << 62, offset: 41 }, "byte 41");
        }
    }

    #[test]
    fn array_of_arrays_with_length_2_62() {
        let inner = Bytes::one_key("k").u32(ARRAY).u32(ARRAY).u64(1).u32(0).u64(1 << 62).data(64);
        refuse(&inner, Error::Count { what: "an array", count: 1 << 62, offset: 53 }, "byte 53");
    }

    #[test]
    fn arrays_nested_deep() {
        let nested = |depth: usize| {
            let outer = (1..depth).fold(Bytes::one_key("k").u32(ARRAY), |b, _| b.u32(ARRAY).u64(1));
            outer.u32(U32).u64(0).0
        };
        assert_eq!(parse(&nested(4)), Ok(()));
        for depth in [5, 6, 100_000] {
            refuse(&nested(depth), Error::Nesting { key: "k".into(), max: 4 }, "\"k\"");
        }
    }

    #[test]
    fn sizes_that_overflow() {
        let dims = [1 << 32, 1 << 32];
        let why = "shape [4294967296, 4294967296]: its size overflows";
        refuse(&one_tensor(&dims, F32, 0), shape(why), "\"w\"");
        // 2^62 weights fit a u64; their bytes (× 4) wrap to 0.
        let why = "shape [4611686018427387904]: its size overflows";
        refuse(&one_tensor(&[1 << 62], F32, 0), shape(why), "\"w\"");
        // 2^64 weights wrap to 0, though 18 bytes for 128 of them do not.
        let why = "shape [9223372036854775808, 2]: its size overflows";
        refuse(&one_tensor(&[1 << 63, 2], 41, 0), shape(why), "\"w\"");
        // CVE-2026-33298: four factors, none of them absurd.
        let why = "shape [65536, 65536, 65536, 65536]: its size overflows";
        refuse(&one_tensor(&[65536; 4], F32, 0), shape(why), "\"w\"");
    }

    #[test]
    fn alignment_arithmetic() {
        let far =
            Bytes::header(1, 1).str(b"general.alignment").u32(U32).u32(1 << 31).entry(b"w", &[1], F32, 0).data(64);
        let why = format!("it ends past the file's {} bytes", far.len());
        refuse(&far, place(1 << 31, (1 << 31) + 4, &why), "\"w\"");
        // The last aligned offset: adding the start of the data section wraps.
        refuse(
            &one_tensor(&[16], F32, u64::MAX - 31),
            place(u64::MAX, u64::MAX, "its offset overflows"),
            "offset overflows",
        );
        // The section's start (64) is added without wrapping, the length is not.
        let file = one_tensor(&[1 << 60], F32, (1 << 63) + (1 << 62));
        let start = (1 << 63) + (1 << 62) + 64;
        refuse(&file, place(start, u64::MAX, "it ends past the file's 128 bytes"), "\"w\"");
    }

    #[test]
    fn zero_dimensions() {
        for dims in [&[0][..], &[16, 0], &[0, 16], &[1, 1, 1, 0], &[0, u64::MAX, u64::MAX]] {
            refuse(&one_tensor(dims, F32, 0), shape(&format!("shape {dims:?}: a dimension is zero")), "\"w\"");
        }
    }

    #[test]
    fn number_of_dimensions() {
        refuse(&one_tensor(&[], F32, 0), shape("0 dimensions (allowed: 1 to 4)"), "\"w\"");
        refuse(&one_tensor(&[1; 5], F32, 0), shape("5 dimensions (allowed: 1 to 4)"), "\"w\"");
        let file = Bytes::header(1, 0).str(b"w").u32(u32::MAX).data(64);
        refuse(&file, shape("4294967295 dimensions (allowed: 1 to 4)"), "\"w\"");
    }

    #[test]
    fn dimensions_of_broken_blocks() {
        let blocky: Vec<GgmlType> = GgmlType::all().filter(|t| t.block > 1).collect();
        assert!(blocky.len() > 20);
        for ty in blocky {
            let mut file = one_tensor(&[ty.block], ty.id, 0);
            file.resize(file.len() + ty.bytes as usize, 0);
            assert_eq!(parse(&file), Ok(()), "{}", ty.name);
            for inner in [1, ty.block - 1, ty.block + 1] {
                // The outer dimension makes the number of weights whole blocks: rows still must be.
                let file = one_tensor(&[inner, ty.block], ty.id, 0);
                let why = format!("shape {:?}: its first dimension is not a whole number of blocks", [inner, ty.block]);
                refuse(&file, shape(&why), "\"w\"");
            }
        }
    }

    #[test]
    fn data_past_the_end() {
        // The data section is bytes 64..128.
        assert_eq!(parse(&one_tensor(&[8], F32, 32)), Ok(()));
        let why = "it ends past the file's 128 bytes";
        refuse(&one_tensor(&[9], F32, 32), place(96, 132, why), "\"w\" at bytes 96..132");
        refuse(&one_tensor(&[1], F32, 64), place(128, 132, why), "128..132");
        refuse(&one_tensor(&[1], F32, 1 << 40), place((1 << 40) + 64, (1 << 40) + 68, why), "\"w\"");
        refuse(&one_tensor(&[1 << 40], F32, 0), place(64, (1 << 42) + 64, why), "\"w\"");
        let no_data = Bytes::header(1, 0).entry(b"w", &[1], F32, 0).0;
        refuse(&no_data, place(64, 68, "it ends past the file's 57 bytes"), "\"w\"");
    }

    #[test]
    fn overlapping_tensors() {
        // Entries of "v" (v_len floats at v_at) and "w": 24 + 2 × 33 bytes, so that data starts at 96.
        let two = |v: (u64, u64), w: (u64, u64)| {
            Bytes::header(2, 0).entry(b"v", &[v.1], F32, v.0).entry(b"w", &[w.1], F32, w.0).data(128)
        };
        assert_eq!(parse(&two((0, 8), (32, 8))), Ok(()));
        assert_eq!(parse(&two((32, 8), (0, 8))), Ok(()), "in any order");
        let why = "it overlaps tensor \"v\"";
        refuse(&two((0, 9), (32, 8)), place(128, 160, why), "\"w\"");
        refuse(&two((0, 32), (64, 1)), place(160, 164, why), "\"w\"");
        let same = parse(&two((32, 8), (32, 8))).unwrap_err();
        assert!(matches!(&same, Error::Place { start: 128, end: 160, why, .. } if why.contains("overlaps")), "{same}");
    }

    #[test]
    fn misaligned_tensors() {
        for offset in [1, 16, 31, 33] {
            let end = offset + 4;
            refuse(&one_tensor(&[1], F32, offset), place(offset, end, "its offset is not a multiple of 32"), "\"w\"");
        }
        let wide = Bytes::header(1, 1).str(b"general.alignment").u32(U32).u32(64).entry(b"w", &[1], F32, 32).data(128);
        refuse(&wide, place(32, 36, "its offset is not a multiple of 64"), "\"w\"");
    }

    /// As many directory entries and keys as bytes allow: large files reach for the bound, small ones keep it anyway.
    #[test]
    fn memory_is_bounded_by_the_bytes_read() {
        const N: u32 = (1 << 14) + 1; // the vector has just doubled
        let entries = |data: usize| {
            let all = (0..N).fold(Bytes::header(N.into(), 0), |b, i| {
                b.entry(format!("{i:x}").as_bytes(), &[1], F32, u64::from(i) * 32)
            });
            all.data(data)
        };
        assert_eq!(parse(&entries(N as usize * 32)), Ok(()));
        assert!(matches!(parse(&entries(0)), Err(Error::Place { .. })));
        let keys = (0..N).fold(Bytes::header(0, N.into()), |b, i| b.str(format!("{i:x}").as_bytes()).u32(0).raw(&[0]));
        assert_eq!(parse(&keys.0), Ok(()));
        // An array of a million strings is a view: nothing is allocated for its elements.
        let strings = (0..1_000_000).fold(Bytes::one_key("k").u32(ARRAY).u32(STRING).u64(1_000_000), |b, _| b.u64(0)).0;
        PEAK.set(LIVE.get());
        let before = LIVE.get();
        assert!(Gguf::parse(&strings).is_ok());
        assert!(PEAK.get() - before < 4096);
    }
}

mod types_and_names {
    use super::*;

    #[test]
    fn alignment_of_the_wrong_type() {
        let wrong = |found| Error::WrongType { key: "general.alignment".into(), expected: "an integer", found };
        let file = |w: Writer| w.tensor("w", GgmlType::from_id(F32).unwrap(), &[8], [0; 32]).finish();
        let key = "general.alignment";
        refuse(&file(Writer::new().with(key, "32")), wrong(ValueType::String), key);
        refuse(&file(Writer::new().with(key, 32f32)), wrong(ValueType::F32), key);
        refuse(&file(Writer::new().with(key, true)), wrong(ValueType::Bool), key);
        refuse(&file(Writer::new().with(key, [32u32])), wrong(ValueType::Array), key);
    }

    #[test]
    fn alignment_of_zero_or_not_a_power_of_two() {
        let key = "general.alignment";
        for n in [0, 1, 4, 24, 33, u32::MAX] {
            let expected = "a power of two, at least 8";
            let error = Error::Range { key: key.into(), value: n.to_string(), expected };
            refuse(&Writer::new().with(key, n).finish(), error, &format!("{key:?}: {n}"));
        }
        for (file, value) in
            [(Writer::new().with(key, -32i32), "-32"), (Writer::new().with(key, 1u64 << 32), "4294967296")]
        {
            let error = Error::Range { key: key.into(), value: value.into(), expected: "0 to 4294967295" };
            refuse(&file.finish(), error, value);
        }
        for n in [8, 16, 64, 4096] {
            assert_eq!(parse(&Writer::new().alignment(n).finish()), Ok(()));
        }
    }

    #[test]
    fn unknown_tensor_types() {
        // 4, 5, 31 to 33 and 36 to 38 are types that ggml has removed.
        for id in [-1i32 as u32, i32::MIN as u32, 4, 5, 31, 32, 33, 36, 37, 38, 43, 1000] {
            refuse(
                &one_tensor(&[256], id, 0),
                Error::TensorType { name: "w".into(), id },
                &format!("\"w\": unknown type id {id}"),
            );
        }
    }

    #[test]
    fn unknown_value_types() {
        for id in [-1i32 as u32, i32::MIN as u32, 13, 14, 1000] {
            let scalar = Bytes::one_key("k").u32(id).data(64);
            refuse(&scalar, Error::ValueType { key: "k".into(), id, offset: 33 }, &format!("type {id} at byte 33"));
            let array = Bytes::one_key("k").u32(ARRAY).u32(id).u64(0).data(64);
            refuse(&array, Error::ValueType { key: "k".into(), id, offset: 37 }, &format!("type {id} at byte 37"));
        }
    }

    #[test]
    fn booleans_other_than_0_and_1() {
        let scalar = Bytes::one_key("k").u32(7).raw(&[2]).0;
        refuse(&scalar, Error::Bool { key: "k".into(), byte: 2, offset: 37 }, "byte 37");
        let array = Bytes::one_key("k").u32(ARRAY).u32(7).u64(3).raw(&[1, 0, 255]).0;
        refuse(&array, Error::Bool { key: "k".into(), byte: 255, offset: 51 }, "byte 51");
    }

    #[test]
    fn empty_and_endless_names() {
        let key = |name: &[u8]| Bytes::header(0, 1).str(name).u32(0).raw(&[0]).0;
        let bad_key = |len| Error::NameLength { what: "a metadata key", len, max: 65535, offset: 24 };
        refuse(&key(b""), bad_key(0), "byte 24");
        refuse(&key(&[b'k'; 65536]), bad_key(65536), "65536");
        assert_eq!(parse(&key(&[b'k'; 65535])), Ok(()));
        let tensor = |name: &[u8]| Bytes::header(1, 0).entry(name, &[1], F32, 0).data(64);
        let bad_tensor = |len| Error::NameLength { what: "a tensor name", len, max: 255, offset: 24 };
        refuse(&tensor(b""), bad_tensor(0), "byte 24");
        refuse(&tensor(&[b'w'; 256]), bad_tensor(256), "256");
        assert_eq!(parse(&tensor(&[b'w'; 255])), Ok(()));
    }

    #[test]
    fn duplicate_keys() {
        let file = Writer::new().with("a", 1u32).with("b", 1u32).with("a", 1u32).finish();
        refuse(&file, Error::Duplicate { what: "key", name: "a".into() }, "key \"a\"");
    }

    #[test]
    fn duplicate_tensors() {
        let file = Bytes::header(2, 0).entry(b"w", &[8], F32, 0).entry(b"w", &[8], F32, 32).data(64);
        refuse(&file, Error::Duplicate { what: "tensor", name: "w".into() }, "tensor \"w\"");
    }

    #[test]
    fn names_and_strings_that_are_not_utf_8() {
        // A stray byte, an overlong '/', a surrogate, a code point past U+10FFFF, a sequence cut short.
        for bad in [&b"\xff"[..], b"a\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe2\x82"] {
            let error = |what: &str, offset| Error::Utf8 { what: what.into(), offset };
            let key = Bytes::header(0, 1).str(bad).u32(0).raw(&[0]).0;
            refuse(&key, error("a metadata key", 32), "byte 32");
            let value = Bytes::one_key("k").u32(STRING).str(bad).0;
            refuse(&value, error("k", 45), "k at byte 45");
            let item = Bytes::one_key("k").u32(ARRAY).u32(STRING).u64(2).str(b"ok").str(bad).0;
            refuse(&item, error("k", 67), "k at byte 67");
            let name = Bytes::header(1, 0).entry(bad, &[1], F32, 0).data(64);
            refuse(&name, error("a tensor name", 32), "byte 32");
        }
    }

    #[test]
    fn values_that_are_missing_or_of_another_type() {
        let file = Writer::new()
            .with("s", "text")
            .with("f", 0.5f32)
            .with("big", u64::MAX)
            .with("minus", -1i8)
            .with("a", [1u32]);
        let file = file.finish();
        let gguf = Gguf::parse(&file).unwrap();
        let wrong = |key: &str, expected, found| Error::WrongType { key: key.into(), expected, found };
        assert_eq!(gguf.require_u32("s"), Err(wrong("s", "an integer", ValueType::String)));
        assert_eq!(gguf.require_u32("f"), Err(wrong("f", "an integer", ValueType::F32)));
        assert_eq!(gguf.require_f32("big"), Err(wrong("big", "a float", ValueType::U64)));
        assert_eq!(gguf.require_str("a"), Err(wrong("a", "a string", ValueType::Array)));
        assert_eq!(gguf.bool("minus"), Err(wrong("minus", "a boolean", ValueType::I8)));
        assert_eq!(gguf.array("s"), Err(wrong("s", "an array", ValueType::String)));
        let range = |key: &str, value: &str| {
            Err(Error::Range { key: key.into(), value: value.into(), expected: "0 to 4294967295" })
        };
        assert_eq!(gguf.u32("big"), range("big", "18446744073709551615"));
        assert_eq!(gguf.u32("minus"), range("minus", "-1"));
        let (expected, found) = (ValueType::F32, ValueType::U32);
        let element = Error::WrongElement { key: "a".into(), expected, found };
        assert_eq!(element.to_string(), "key \"a\": expected an array of f32, found one of u32");
        assert_eq!(gguf.require_array("a", ValueType::F32), Err(element));
        assert_eq!(gguf.require_u32("none"), Err(Error::MissingKey("none".into())));
        assert_eq!(gguf.require_tensor("none").err(), Some(Error::MissingTensor("none".into())));
        assert_eq!((gguf.u32("none"), gguf.str("none"), gguf.bool("none")), (Ok(None), Ok(None), Ok(None)));
    }
}
