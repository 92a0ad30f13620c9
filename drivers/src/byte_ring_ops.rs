//! Operations of two processes on a ring of bytes, with deaths and successors, against a queue: nothing is lost, torn, or
//! comes twice, and every answer is the one that the roles' states demand.

mod records;
mod stream;

use arbitrary::Arbitrary;

/// Which kind of ring, and what happens at it.
#[derive(Arbitrary, Debug)]
pub struct Input(Kind);

#[derive(Arbitrary, Debug)]
enum Kind {
    Records(records::Input),
    Stream(stream::Input),
}

/// # Panics
/// If a promise is broken.
pub fn run(input: Input) {
    match input.0 {
        Kind::Records(input) => records::run(input),
        Kind::Stream(input) => stream::run(input),
    }
}
