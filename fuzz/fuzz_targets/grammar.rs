#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| picolm_fuzz::grammar(data));
