//! Promise: what the fuzz targets promise. The same drivers, fed by proptest, and by every seed.

#![cfg(not(loom))]

use std::path::Path;

use outlive_drivers::input;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};

/// Long enough for as many operations as an input does.
const BYTES: usize = 1 << 10;

fn twin<Input>(target: &str, cases: u32, run: fn(Input))
where
    Input: for<'a> arbitrary::Arbitrary<'a>,
{
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    for seed in std::fs::read_dir(&seeds).into_iter().flatten() {
        if let Some(input) = input(&std::fs::read(seed.unwrap().path()).unwrap()) {
            run(input);
        }
    }
    // A failure prints the shortest bytes that fail: these become a seed.
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&vec(any::<u8>(), 0..BYTES), |bytes| {
        if let Some(input) = input(&bytes) {
            run(input);
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{target}: {failure}");
    }
}

macro_rules! twins {
    ($($target:ident: $cases:literal;)*) => {$(
        #[test]
        fn $target() {
            twin(stringify!($target), $cases, outlive_drivers::$target::run);
        }
    )*};
}

twins! {
    byte_ring_ops: 1000;
    check: 300;
    corrupt_ops: 300;
    directory_ops: 1000;
    open_segment: 1000;
    spsc_ops: 1000;
}
