//! `#[derive(Shared)]` of the crate `outlive`, which exports it with feature `derive`: use it from there.

use proc_macro::TokenStream;

mod attributes;
mod expand;

/// Says that a type may live in a segment, and describes its layout; checks that both are true.
///
/// # What it takes
/// * structs of `#[repr(C)]` or `#[repr(transparent)]` with at least one field, all of them `Shared`;
/// * enums without fields of `#[repr(u8)]`, `u16`, `u32` or `u64`. An enum, `bool`, `char` or padding in it makes a type
///   a payload for `Trusted` only; for `Checked` it needs `bytemuck::Pod` besides.
///
/// Type parameters get a bound `T: Shared`; const parameters are free. Refused at compile time, each with its
/// reason: other `repr`s, `packed`, unions, lifetimes, types that need `Drop`.
///
/// The schema holds the names of the type and its fields, or variants and their numbers, in order. To rename or move
/// one makes another type of it, which does not open what the old one created.
///
/// # Attributes
/// * `#[shared(concurrent)]` on a struct: implements `Concurrent` too. All fields have to be `Concurrent`, without padding, and the
///   struct `Default`.
/// * `#[shared(crate = "some::path")]`: where the crate `outlive` is, if not at `::outlive`.
#[proc_macro_derive(Shared, attributes(shared))]
pub fn derive_shared(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    expand::shared(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
