//! Any bytes as a GGUF file: an error with a message, or a file that keeps the parser's promises.

use picolm_core::gguf::{Array, Error, Gguf, Value, ValueType, Writer};

/// Parses `data`, and uses everything a parsed file offers.
pub fn gguf(data: &[u8]) {
    let parsed = Gguf::parse(data);
    match &parsed {
        Ok(gguf) => {
            check_tensors(gguf);
            look_up(gguf);
            write_again(gguf);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    check_prefix(data, parsed.ok());
}

/// Tensors lie in the file, behind the header, apart from each other, and are found by name.
fn check_tensors(gguf: &Gguf<'_>) {
    let mut places: Vec<_> = gguf.tensors().iter().map(|t| (t.offset, t.offset.checked_add(t.len).unwrap())).collect();
    places.sort();
    assert!(places.iter().all(|&(start, end)| gguf.header_len() <= start && start < end && end <= gguf.file_len()));
    assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    for tensor in gguf.tensors() {
        let weights: u64 = tensor.dims.iter().product();
        assert_eq!(weights / tensor.ty.block * tensor.ty.bytes, tensor.len);
        assert!((1..=4).contains(&tensor.n_dims) && tensor.dims[tensor.n_dims..].iter().all(|&d| d == 1));
        assert_eq!(gguf.require_tensor(tensor.name), Ok(tensor));
    }
}

/// Every look-up of every key, and of one that is absent: a value, or an error that names the key.
fn look_up(gguf: &Gguf<'_>) {
    let absent = ["", "no such key"];
    for key in gguf.metadata().map(|(key, _)| key).chain(absent) {
        let errors = [
            gguf.require_str(key).err(),
            gguf.require_u32(key).err(),
            gguf.require_f32(key).err(),
            gguf.bool(key).err(),
            gguf.require_array(key, ValueType::String).err(),
            gguf.require_array(key, ValueType::F32).err(),
        ];
        for error in errors.into_iter().flatten() {
            assert!(error.to_string().contains(&format!("{key:?}")), "{error}");
        }
    }
    assert_eq!(gguf.require_tensor(""), Err(Error::MissingTensor(String::new())));
    for (_, value) in gguf.metadata() {
        assert_eq!(value.as_str().is_some(), value.value_type() == ValueType::String);
        if let Some(array) = value.as_array() {
            walk(array, 1);
        }
    }
}

fn walk(array: Array<'_>, depth: usize) {
    assert!(depth <= 4);
    assert_eq!(array.iter().count(), array.len());
    assert_eq!(array.is_empty(), array.iter().next().is_none());
    assert_eq!(array.strings().map(|s| s.count()), (array.element() == ValueType::String).then_some(array.len()));
    for value in array.iter() {
        assert_eq!(value.value_type(), array.element());
        if let Value::Array(inner) = value {
            walk(inner, depth + 1);
        }
    }
}

/// The metadata, written, read and written again, is the same bytes.
fn write_again(gguf: &Gguf<'_>) {
    let write = |gguf: &Gguf<'_>| gguf.metadata().fold(Writer::new(), |to, (key, value)| to.value(key, value)).finish();
    let once = write(gguf);
    let twice = write(&Gguf::parse(&once).expect("what was written"));
    assert!(once == twice);
}

/// The header alone parses to the same, and half of the file asks for more of it where more is what it lacks.
fn check_prefix(data: &[u8], whole: Option<Gguf<'_>>) {
    let file_len = data.len() as u64;
    if let Some(whole) = whole {
        let header = &data[..whole.header_len() as usize];
        let again = Gguf::parse_header(header, file_len).expect("the header was whole");
        assert_eq!((again.version(), again.tensors()), (whole.version(), whole.tensors()));
    }
    let half = &data[..data.len() / 2];
    if let Err(Error::Truncated { needed, len, .. }) = Gguf::parse_header(half, file_len) {
        assert!(len == half.len() as u64 && needed > len);
    }
}
