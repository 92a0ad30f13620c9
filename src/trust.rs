//! Who may write the memory: anybody ([`Checked`]), or only programs that you vouch for ([`Trusted`]).
//!
//! Every handle is an `X<T, M = Checked>`. The mode `M` decides what is done with *payload* bytes, and nothing
//! else: control words are validated in both modes, and both have the same layout, verbs and errors.
//!
//! | mode        | payloads                        | reads and writes            | a peer that misbehaves                       |
//! |-------------|---------------------------------|-----------------------------|----------------------------------------------|
//! | [`Checked`] | `Shared` and [`bytemuck::Pod`]  | copies; never a reference   | wrong values or `Corrupt`: nothing undefined |
//! | [`Trusted`] | [`Shared`](crate::Shared) only  | references, in place        | undefined behaviour: hence the contract      |
//!
//! # The contract of `Segment::trust`
//! `Segment::trust` is the only `unsafe` call of an ordinary user. Whoever calls it promises that, until the last
//! handle that comes from it is gone:
//!
//! 1. every process that can write this memory runs this protocol with the same payload definitions;
//! 2. nobody writes the memory otherwise, or truncates the object behind it;
//! 3. no attachment is declared dead by `testing::kill`, and no process forks, while slices of its guards live;
//! 4. nothing uninitialised is written through a grant's `spare`: what is there counts as bytes, filled or not.
//!
//! Being killed breaks none of these: a process may die at any instruction in either mode.
//!
//! # Example
//! ```
//! use outlive::{Segment, Trusted, ring::spsc};
//!
//! let segment = Segment::heap(1 << 16)?;
//! // SAFETY: heap memory of this process, which only this program writes, through this crate.
//! let segment = unsafe { segment.trust() };
//! // `bool` has invalid bytes, so that it takes trust. The mode is spelled where the type is.
//! let flags = spsc::Ring::<bool, Trusted>::open_or_create(&segment, "flags", 64)?;
//! flags.try_sender()?.send(true)?;
//! # Ok::<(), outlive::Error>(())
//! ```

/// The mode of memory that anybody may write, even with malice: the default.
///
/// Payloads are copied in and out, and any bytes must be a valid value. Whatever other processes write, the worst
/// are wrong values and [`Error::Corrupt`](crate::Error::Corrupt).
#[derive(Clone, Copy, Debug)]
pub enum Checked {}

/// The mode of memory that only programs write that keep the contract of `Segment::trust`.
///
/// It admits every [`Shared`](crate::Shared) payload, also enums, `bool`, `char` and padding, and hands out
/// references. The contract is in the [module](self)'s documentation.
#[derive(Clone, Copy, Debug)]
pub enum Trusted {}

/// [`Checked`] or [`Trusted`]: the parameter `M` of segments and handles. There is no third.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a mode of trust",
    label = "must be `Checked` or `Trusted`",
    note = "the two modes are `outlive::Checked` and `outlive::Trusted`; others cannot be added"
)]
pub trait Trust: sealed::Mode + Send + Sync + 'static {}

impl Trust for Checked {}
impl Trust for Trusted {}

/// What the crate knows about a mode; not nameable outside, so that nobody can add one.
pub(crate) mod sealed {
    /// Which of the two modes it is.
    #[expect(unnameable_types, reason = "sealed")]
    pub trait Mode {
        /// Whether references to payload may be formed.
        const TRUSTED: bool;
    }

    impl Mode for super::Checked {
        const TRUSTED: bool = false;
    }

    impl Mode for super::Trusted {
        const TRUSTED: bool = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted<M: Trust>() -> bool {
        M::TRUSTED
    }

    #[test]
    fn generic_code_sees_the_mode() {
        assert!(!trusted::<Checked>());
        assert!(trusted::<Trusted>());
    }
}
