//! The layout of a type as a number that two programs can compare.
//!
//! # Format
//! A fingerprint is FNV-1a (64 bits) over: name, size, alignment, number of the fields. The number of the fields is
//! FNV-1a over, for each field in order, name, 0, offset, fingerprint; for each variant name, 1, discriminant. Numbers
//! are hashed as 8 bytes, little-endian; a name as its length in bytes and then its UTF-8.
//! Fingerprints are stored in segments: to change any of this is a new layout version.

use core::marker::PhantomData;

use super::Shared;

/// The layout of a [`Shared`] type: its name, size, alignment, and fields by name, offset and schema.
///
/// Two programs may share an object if their payload types have the same [`fingerprint`](Self::fingerprint). Names of
/// types and fields count, as `price` and `size` are both `f64`. Modules and crates do not: a type may move.
/// It guards against mistakes, not against malice: whoever can write a segment can write any fingerprint.
///
/// ```
/// use outlive::{Schema, Shared};
///
/// const ASK: Schema = Schema::of::<[u64; 2]>("Quote").field("ask", 0, u64::SCHEMA).field("size", 8, u64::SCHEMA);
/// const BID: Schema = Schema::of::<[u64; 2]>("Quote").field("bid", 0, u64::SCHEMA).field("size", 8, u64::SCHEMA);
/// assert_ne!(ASK.fingerprint(), BID.fingerprint());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    name: &'static str,
    size: u64,
    align: u64,
    fields: u64,
}

/// What a field's and a variant's number mean.
const OFFSET: u64 = 0;
const DISCRIMINANT: u64 = 1;

impl Schema {
    /// The schema of `T`, as yet without fields. `name` is the type's own name, without its modules.
    pub const fn of<T>(name: &'static str) -> Self {
        Self { name, size: size_of::<T>() as u64, align: align_of::<T>() as u64, fields: fnv::EMPTY }
    }

    /// The same, with one more field, `offset` bytes from the start. Fields are given in the order of declaration.
    pub const fn field(self, name: &str, offset: usize, schema: Self) -> Self {
        let fields = fnv::text(self.fields, name);
        let fields = fnv::number(fnv::number(fields, OFFSET), offset as u64);
        Self { fields: fnv::number(fields, schema.fingerprint()), ..self }
    }

    /// The same, with one more variant of an enum without fields, in the order of declaration.
    pub const fn variant(self, name: &str, discriminant: u64) -> Self {
        let fields = fnv::text(self.fields, name);
        Self { fields: fnv::number(fnv::number(fields, DISCRIMINANT), discriminant), ..self }
    }

    /// The type's name, without its modules.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes.
    pub const fn align(&self) -> u64 {
        self.align
    }

    /// A number that is another one, but for an accident of 1 in 2^64, if anything in the schema is another.
    pub const fn fingerprint(&self) -> u64 {
        let hash = fnv::number(fnv::text(fnv::EMPTY, self.name), self.size);
        fnv::number(fnv::number(hash, self.align), self.fields)
    }
}

/// FNV-1a, 64 bits.
mod fnv {
    /// The hash of nothing.
    pub(super) const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;

    const fn bytes(mut hash: u64, bytes: &[u8]) -> u64 {
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u64).wrapping_mul(PRIME);
            i += 1;
        }
        hash
    }

    pub(super) const fn number(hash: u64, number: u64) -> u64 {
        bytes(hash, &number.to_le_bytes())
    }

    /// The length goes first, so that no text runs into the next one.
    pub(super) const fn text(hash: u64, text: &str) -> u64 {
        bytes(number(hash, text.len() as u64), text.as_bytes())
    }
}

/// The name of an array: `[u64; 4]`.
pub(super) struct ArrayName<T, const N: usize>(PhantomData<T>);

impl<T: Shared, const N: usize> ArrayName<T, N> {
    const BUFFER: Text = Text::EMPTY.push("[").push(T::SCHEMA.name()).push("; ").push_number(N).push("]");
    /// The name itself, or `[..]` if it is too long.
    pub(super) const TEXT: &'static str = {
        let buffer: &'static Text = &Self::BUFFER;
        match buffer.as_str() {
            Some(text) => text,
            None => "[..]",
        }
    };
}

/// Text that is put together at compile time.
struct Text {
    bytes: [u8; 64],
    /// More than there are bytes: it did not fit.
    len: usize,
}

impl Text {
    const EMPTY: Self = Self { bytes: [0; 64], len: 0 };

    const fn push(mut self, text: &str) -> Self {
        let mut i = 0;
        while i < text.len() {
            self = self.push_byte(text.as_bytes()[i]);
            i += 1;
        }
        self
    }

    const fn push_number(self, number: usize) -> Self {
        let this = if number < 10 { self } else { self.push_number(number / 10) };
        this.push_byte(b"0123456789"[number % 10])
    }

    const fn push_byte(mut self, byte: u8) -> Self {
        if self.len < self.bytes.len() {
            self.bytes[self.len] = byte;
        }
        self.len += 1;
        self
    }

    const fn as_str(&self) -> Option<&str> {
        if self.len > self.bytes.len() {
            return None;
        }
        match core::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => Some(text),
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    /// A struct of two `u64`, of this name, with fields of these names.
    macro_rules! pair {
        ($name:ident { $first:ident, $second:ident }) => {
            #[repr(C)]
            pub(super) struct $name {
                $first: u64,
                $second: u64,
            }

            // SAFETY: `repr(C)`, two numbers, and both are in the schema.
            unsafe impl Shared for $name {
                const SCHEMA: Schema = Schema::of::<Self>(stringify!($name))
                    .field(stringify!($first), offset_of!(Self, $first), u64::SCHEMA)
                    .field(stringify!($second), offset_of!(Self, $second), u64::SCHEMA);
            }
        };
    }

    mod here {
        use super::*;
        pair!(Quote { bid, ask });
    }
    mod there {
        use super::*;
        pair!(Quote { bid, ask });
    }
    mod swapped {
        use super::*;
        pair!(Quote { ask, bid });
    }
    mod renamed_field {
        use super::*;
        pair!(Quote { bid, offer });
    }
    mod renamed {
        use super::*;
        pair!(Price { bid, ask });
    }

    fn fingerprint<T: Shared>() -> u64 {
        T::SCHEMA.fingerprint()
    }

    #[test]
    fn modules_do_not_count() {
        assert_eq!(here::Quote::SCHEMA, there::Quote::SCHEMA);
        assert_eq!(fingerprint::<here::Quote>(), fingerprint::<there::Quote>());
    }

    #[test]
    fn names_of_types_and_fields_and_their_order_count() {
        let all = [
            fingerprint::<here::Quote>(),
            fingerprint::<swapped::Quote>(),
            fingerprint::<renamed_field::Quote>(),
            fingerprint::<renamed::Price>(),
            fingerprint::<[u64; 2]>(),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(a), "{i}");
        }
    }

    #[test]
    fn offset_size_alignment_and_depth_count() {
        const BASE: Schema = Schema::of::<[u32; 4]>("T");
        let all = [
            BASE,
            BASE.field("a", 0, u32::SCHEMA),
            BASE.field("a", 4, u32::SCHEMA),
            BASE.field("a", 0, i32::SCHEMA),
            BASE.field("a", 0, f32::SCHEMA),
            BASE.field("a", 0, <[u32; 1]>::SCHEMA),
            BASE.variant("a", 0),
            BASE.variant("a", 1),
            BASE.field("a", 0, BASE.field("b", 0, u32::SCHEMA)),
            BASE.field("a", 0, BASE.field("c", 0, u32::SCHEMA)),
            Schema::of::<[u32; 5]>("T"),
            Schema::of::<[u64; 2]>("T"),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a.fingerprint() != b.fingerprint()), "{i}");
        }
    }

    #[test]
    fn a_name_cannot_run_into_the_next_one() {
        const BASE: Schema = Schema::of::<u8>("T");
        let (ab, a) = (BASE.variant("ab", 0), BASE.variant("a", u64::from(b'b')));
        assert_ne!(ab.fingerprint(), a.fingerprint());
    }

    /// Computed by another program, from the format as it is written above.
    #[test]
    fn fingerprints_are_a_format() {
        assert_eq!(fingerprint::<u64>(), 0x42d4_aa42_3774_478a);
        assert_eq!(fingerprint::<here::Quote>(), 0x1d6b_6916_af84_c8b8);
        assert_eq!(fingerprint::<[u64; 4]>(), 0x4675_7707_0999_8c86);
        assert_eq!(
            Schema::of::<u8>("Side").variant("Buy", 1).variant("Sell", 2).fingerprint(),
            0x1573_8bf8_c098_8418
        );
    }

    #[test]
    fn arrays_have_names_that_a_user_recognises() {
        assert_eq!(<[u64; 4]>::SCHEMA.name(), "[u64; 4]");
        assert_eq!(<[[f32; 12]; 1000]>::SCHEMA.name(), "[[f32; 12]; 1000]");
        assert_eq!(<[u8; 0]>::SCHEMA.name(), "[u8; 0]");
    }

    #[test]
    fn an_array_of_a_long_name_still_has_one() {
        struct Long;
        // SAFETY: one byte less than nothing to get wrong: it has no bytes.
        unsafe impl Shared for Long {
            const SCHEMA: Schema =
                Schema::of::<Self>("ANameOfSixtyFourBytesWhichFillsAllThatThereIsInTheBufferForIt...");
        }
        assert_eq!(<[Long; 4]>::SCHEMA.name(), "[..]");
        assert_eq!(Long::SCHEMA.name().len(), 64);
    }

    #[test]
    fn a_schema_tells_what_it_was_made_of() {
        let schema = here::Quote::SCHEMA;
        assert_eq!((schema.name(), schema.size(), schema.align()), ("Quote", 16, 8));
    }
}
