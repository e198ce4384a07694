//! Model files that are not what they should be, or do not stay so.

use picolm_core::gguf::Writer;
use picolm_machine::ModelFile;
use picolm_machine::file::Why;
use std::path::{Path, PathBuf};

/// A new file of this test run, longer than a page.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let text = "x".repeat(20_000);
    std::fs::write(&path, Writer::new().with("general.name", text.as_str()).finish()).expect("a scratch file");
    path
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    assert!(matches!(ModelFile::open(folder).expect_err("a folder").why, Why::NotAFile | Why::Open(_)));
    assert!(matches!(ModelFile::open(&folder.join("nothing-there")).expect_err("nothing").why, Why::Open(_)));
    if cfg!(unix) {
        assert!(matches!(ModelFile::open("/dev/null".as_ref()).expect_err("a device").why, Why::NotAFile));
    }
    let error = ModelFile::open(&scratch("one-00002-of-00002.gguf")).expect_err("half a model");
    assert!(matches!(&error.why, Why::Part(2, missing) if missing.ends_with("one-00001-of-00002.gguf")), "{error:?}");
}

#[test]
fn a_header_is_read_and_an_empty_file_has_none() {
    let path = scratch("whole.gguf");
    let file = ModelFile::open(&path).expect("a file");
    assert_eq!(file.gguf().expect("a header").str("general.name").expect("a text").map(str::len), Some(20_000));
    std::fs::write(&path, b"").expect("a scratch file");
    let empty = ModelFile::open(&path).expect("a file");
    assert!(matches!(empty.gguf().expect_err("nothing in it").why, Why::Gguf(_)));
}

/// What is behind the new end reads as zeros where the system lets us answer.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_cut_short_reads_as_zeros_and_is_noticed() {
    let path = scratch("shrinks.gguf");
    let watched = picolm_machine::file::Watched::open(&path).expect("a file");
    let map = watched.map().expect("a mapping");
    assert_eq!(map.as_ref()[15_000], b'x');
    watched.check().expect("no change");
    std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(4096)).expect("cut");
    assert_eq!((map.as_ref()[1000], map.as_ref()[15_000]), (b'x', 0));
    assert!(map.fault().is_some());
    assert!(matches!(watched.check().expect_err("a change").why, Why::Changed("cut short")));
}

#[test]
fn a_file_that_is_written_to_or_replaced_is_noticed() {
    let path = scratch("grows.gguf");
    let file = ModelFile::open(&path).expect("a file");
    file.check().expect("no change");
    std::fs::OpenOptions::new().append(true).open(&path).and_then(|file| file.set_len(50_000)).expect("longer");
    assert!(matches!(file.check().expect_err("a change").why, Why::Changed("changed")));
    assert!(matches!(file.gguf().expect_err("a change").why, Why::Changed("changed")));
    if cfg!(unix) {
        let (path, other) = (scratch("goes.gguf"), scratch("comes.gguf"));
        let file = ModelFile::open(&path).expect("a file");
        std::fs::rename(other, &path).expect("another file of that name");
        assert!(matches!(file.check().expect_err("a change").why, Why::Changed("replaced")));
        std::fs::remove_file(&path).expect("a file");
        file.check().expect("a file that was deleted is still there for us");
    }
}
