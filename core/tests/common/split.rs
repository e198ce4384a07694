//! Splits a GGUF file as `gguf-split` does: the first part has all metadata, each has some of the tensors.

use picolm_core::gguf::{Gguf, Writer};

/// The parts; `at` says before which tensors to cut.
pub fn split(file: &[u8], at: &[usize]) -> Vec<Vec<u8>> {
    let gguf = Gguf::parse(file).expect("a GGUF file");
    let (all, count) = (gguf.tensors(), at.len() as u16 + 1);
    let starts = [&[0], at].concat();
    let ends = [at, &[all.len()]].concat();
    let parts = starts.iter().zip(ends).enumerate().map(|(i, (&start, end))| {
        let mut part = Writer::new();
        if i == 0 {
            part = gguf.metadata().fold(part, |part, (key, value)| part.value(key, value));
        }
        part = part.with("split.no", i as u16).with("split.count", count).with("split.tensors.count", all.len() as i32);
        let add = |part: Writer, t: &picolm_core::gguf::Tensor<'_>| {
            let bytes = &file[t.offset as usize..][..t.len as usize];
            part.tensor(t.name, t.ty, &t.dims[..t.n_dims], bytes)
        };
        all[start..end].iter().fold(part, add).finish()
    });
    parts.collect()
}
