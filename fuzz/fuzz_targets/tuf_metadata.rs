#![no_main]

libfuzzer_sys::fuzz_target!(
    init: lockstep_fuzz::remembered::install(),
    |data: &[u8]| lockstep_fuzz::targets::tuf_metadata(data)
);
