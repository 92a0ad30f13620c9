//! What must not compile, and what the compiler says then; and what must.
//!
//! The expected messages belong to one compiler version: the one that the continuous integration pins.
//! `TRYBUILD=overwrite cargo test --features derive --test ui` writes them anew; read the difference.
//!
//! There is a program that passes in each test, so that trybuild builds instead of only checking: assertions in
//! generic constants are evaluated by builds alone.

#![cfg(not(loom))]

#[test]
fn only_sound_programs_compile() {
    let programs = trybuild::TestCases::new();
    programs.pass("tests/ui/pass_*.rs");
    programs.compile_fail("tests/ui/fail_*.rs");
}

#[cfg(feature = "derive")]
#[test]
fn the_derive_refuses_what_cannot_be_shared() {
    let programs = trybuild::TestCases::new();
    programs.pass("tests/ui/derive_pass_*.rs");
    programs.compile_fail("tests/ui/derive_fail_*.rs");
}
