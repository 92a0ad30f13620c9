//! What `#[repr(..)]` and `#[shared(..)]` say.

use proc_macro2::{Span, TokenStream};
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, LitStr, Path, Result, parenthesized, token};

/// The parts of `#[repr(..)]` that matter here.
#[derive(Default)]
pub(crate) struct Repr {
    /// `C` or `transparent`: fields stay in the order of declaration.
    pub(crate) ordered: bool,
    /// `u8`, `u16`, `u32` or `u64`.
    pub(crate) unsigned: bool,
    /// Another integer, and where it stands.
    pub(crate) other_integer: Option<Span>,
    /// `packed`, and where it stands.
    pub(crate) packed: Option<Span>,
}

impl Repr {
    pub(crate) fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut repr = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("repr")) {
            attribute.parse_nested_meta(|meta| repr.read(&meta))?;
        }
        Ok(repr)
    }

    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let Some(word) = meta.path.get_ident() else { return Ok(()) };
        match word.to_string().as_str() {
            "C" | "transparent" => self.ordered = true,
            "u8" | "u16" | "u32" | "u64" => self.unsigned = true,
            "packed" => self.packed = Some(word.span()),
            "align" => {}
            _ => self.other_integer = Some(word.span()),
        }
        if meta.input.peek(token::Paren) {
            let number;
            parenthesized!(number in meta.input);
            number.parse::<TokenStream>()?;
        }
        Ok(())
    }
}

/// What `#[shared(..)]` asks for.
pub(crate) struct Options {
    /// Where the crate is.
    pub(crate) outlive: Path,
    /// Whether to implement `Concurrent`, and where that was asked.
    pub(crate) concurrent: Option<Span>,
}

impl Options {
    pub(crate) fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut options = Self { outlive: syn::parse_quote!(::outlive), concurrent: None };
        for attribute in attributes.iter().filter(|a| is_ours(a)) {
            attribute.parse_nested_meta(|meta| options.read(&meta))?;
        }
        Ok(options)
    }

    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("concurrent") {
            self.concurrent = Some(meta.path.get_ident().map_or_else(Span::call_site, syn::Ident::span));
            Ok(())
        } else if meta.path.is_ident("crate") {
            self.outlive = meta.value()?.parse::<LitStr>()?.parse_with(Path::parse_mod_style)?;
            Ok(())
        } else {
            Err(meta.error("expected `concurrent` or `crate = \"path\"`"))
        }
    }
}

/// Refuses `#[shared(..)]` on a field or variant, where it would say nothing.
pub(crate) fn none_of_ours(attributes: &[Attribute]) -> Result<()> {
    match attributes.iter().find(|a| is_ours(a)) {
        Some(misplaced) => {
            Err(Error::new_spanned(misplaced, "`#[shared(..)]` belongs on the type, not inside of it"))
        }
        None => Ok(()),
    }
}

fn is_ours(attribute: &Attribute) -> bool {
    attribute.path().is_ident("shared")
}
