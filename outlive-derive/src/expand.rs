//! From a type to its implementation of `Shared`, or to the reason why there is none.
//!
//! What only the compiler can see (do the fields implement `Shared`? does the type need `Drop`?) is checked by
//! what is generated, with the spans of the fields. All other code carries the derive's own span: so lints of the
//! user's crate, `forbid(unsafe_code)` among them, leave it alone.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Data, DataEnum, DataStruct, DeriveInput, Error, Fields, GenericParam, Generics, Index, Result};

use crate::attributes::{Options, Repr, none_of_ours};

/// `impl Shared`, and `impl Concurrent` if that was asked for.
pub(crate) fn shared(input: &DeriveInput) -> Result<TokenStream> {
    let repr = Repr::of(&input.attrs)?;
    let options = Options::of(&input.attrs)?;
    if let Some(lifetime) = input.generics.lifetimes().next() {
        let why = "a type with a lifetime cannot be `Shared`: a reference means nothing in another process; \
                   store the value itself, or an `Offset<T>`";
        return Err(Error::new_spanned(lifetime, why));
    }
    let parts = match &input.data {
        Data::Struct(data) => fields(input, data, &repr, &options)?,
        Data::Enum(data) => variants(input, data, &repr, &options)?,
        Data::Union(data) => {
            let why = "a union cannot be `Shared`: nothing tells the other process which field is valid; take a struct";
            return Err(Error::new_spanned(data.union_token, why));
        }
    };
    Ok(implement(input, &options, &parts))
}

/// The schema behind `Schema::of(..)`: calls of its methods. For `Concurrent`, what checks the fields before.
struct Parts {
    schema: TokenStream,
    checks: TokenStream,
}

fn fields(input: &DeriveInput, data: &DataStruct, repr: &Repr, options: &Options) -> Result<Parts> {
    if let Some(span) = repr.packed {
        let why = "a packed struct cannot be `Shared`: its fields are not aligned; order them by size, largest first, \
                   and add explicit padding";
        return Err(Error::new(span, why));
    }
    if !repr.ordered {
        let why = "the compiler may reorder these fields: add `#[repr(C)]`, or `#[repr(transparent)]` if there is only one";
        return Err(Error::new_spanned(&input.ident, why));
    }
    if data.fields.is_empty() {
        let why = "a struct without fields has no bytes to share: add a field, or send a `u8`";
        return Err(Error::new_spanned(&input.ident, why));
    }
    let outlive = &options.outlive;
    let mut parts = Parts { schema: TokenStream::new(), checks: TokenStream::new() };
    for (index, field) in data.fields.iter().enumerate() {
        none_of_ours(&field.attrs)?;
        let ty = &field.ty;
        // The derive's code at the field's place: errors show there.
        let here = Span::call_site().located_at(ty.span());
        let (name, member) = match &field.ident {
            Some(ident) => (plain(ident), quote!(#ident)),
            None => (index.to_string(), Index::from(index).into_token_stream()),
        };
        let schema = quote_spanned!(here=> <#ty as #outlive::Shared>::SCHEMA);
        parts.schema.extend(quote!(.field(#name, ::core::mem::offset_of!(Self, #member), #schema)));
        if options.concurrent.is_some() {
            parts.checks.extend(quote_spanned!(here=> bytes += concurrent::<#ty>();));
        }
    }
    Ok(parts)
}

fn variants(input: &DeriveInput, data: &DataEnum, repr: &Repr, options: &Options) -> Result<Parts> {
    if let Some(span) = options.concurrent {
        return Err(Error::new(span, "an enum is not made of atomics: `concurrent` is for structs"));
    }
    for variant in &data.variants {
        none_of_ours(&variant.attrs)?;
        if !matches!(variant.fields, Fields::Unit) {
            let why = "an enum with data cannot be `Shared`: take a `repr(C)` struct with a field-less enum as its tag";
            return Err(Error::new_spanned(variant, why));
        }
    }
    if data.variants.is_empty() {
        return Err(Error::new_spanned(&input.ident, "an enum without variants has no values to share"));
    }
    if !repr.unsigned {
        let why = "the size of this enum is not fixed: add `#[repr(u8)]`, or `u16`, `u32` or `u64`";
        let span = repr.other_integer.unwrap_or_else(|| input.ident.span());
        return Err(Error::new(span, why));
    }
    let schema = data.variants.iter().map(|variant| {
        let (ident, name) = (&variant.ident, plain(&variant.ident));
        quote!(.variant(#name, Self::#ident as ::core::primitive::u64))
    });
    Ok(Parts { schema: schema.collect(), checks: TokenStream::new() })
}

fn implement(input: &DeriveInput, options: &Options, parts: &Parts) -> TokenStream {
    let (ident, name, outlive) = (&input.ident, plain(&input.ident), &options.outlive);
    let bound = if options.concurrent.is_some() {
        quote!(#outlive::payload::Concurrent)
    } else {
        quote!(#outlive::Shared)
    };
    let generics = bounded(&input.generics, &bound);
    let (impl_generics, type_generics, clause) = generics.split_for_impl();
    let drop = format!(
        "`{name}` cannot be `Shared`: values in a segment are never dropped, but this type needs `Drop`"
    );
    let (schema, checks) = (&parts.schema, &parts.checks);
    let concurrent = options.concurrent.map(|_| {
        quote! {
            #[automatically_derived]
            unsafe impl #impl_generics #outlive::payload::Concurrent for #ident #type_generics #clause {}
        }
    });
    let (check, complete) = if checks.is_empty() {
        (TokenStream::new(), TokenStream::new())
    } else {
        let check = quote! {
            const fn concurrent<T: #outlive::payload::Concurrent>() -> ::core::primitive::usize {
                ::core::mem::size_of::<T>()
            }
            let mut bytes = 0;
        };
        (check, quote!(#outlive::payload::refuse_padding::<Self>(bytes);))
    };
    // A generic type is checked where it is used, any other at once.
    let now = generics
        .params
        .is_empty()
        .then(|| quote!(const _: #outlive::Schema = <#ident as #outlive::Shared>::SCHEMA;));
    quote! {
        #[automatically_derived]
        unsafe impl #impl_generics #outlive::Shared for #ident #type_generics #clause {
            const SCHEMA: #outlive::Schema = {
                #check
                #checks
                #complete
                ::core::assert!(!::core::mem::needs_drop::<Self>(), #drop);
                #outlive::Schema::of::<Self>(#name) #schema
            };
        }
        #concurrent
        #now
    }
}

/// The same generics, each type parameter with one more bound.
fn bounded(generics: &Generics, bound: &TokenStream) -> Generics {
    let mut generics = generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(syn::parse_quote!(#bound));
        }
    }
    generics
}

/// A name as it is meant: `type` for `r#type`.
fn plain(ident: &syn::Ident) -> String {
    use syn::ext::IdentExt as _;
    ident.unraw().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(source: &str) -> String {
        let input = syn::parse_str(source).expect(source);
        shared(&input).expect_err(source).to_string()
    }

    fn code(source: &str) -> String {
        let input = syn::parse_str(source).expect(source);
        shared(&input).expect(source).to_string().replace(' ', "")
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let cases: [(&str, &str); 13] = [
            ("struct S { a: u8 }", "#[repr(C)]"),
            ("#[repr(align(8))] struct S { a: u8 }", "#[repr(C)]"),
            ("#[repr(C, packed)] struct S { a: u8 }", "explicit padding"),
            ("#[repr(C)] #[repr(packed(2))] struct S { a: u8 }", "explicit padding"),
            ("#[repr(C)] struct S {}", "add a field"),
            ("#[repr(C)] struct S;", "add a field"),
            ("#[repr(C)] struct S<'a> { a: &'a u8 }", "store the value itself"),
            ("#[repr(C)] union U { a: u8 }", "take a struct"),
            ("enum E { A }", "#[repr(u8)]"),
            ("#[repr(C)] enum E { A }", "#[repr(u8)]"),
            ("#[repr(i8)] enum E { A }", "#[repr(u8)]"),
            ("#[repr(u8)] enum E { A(u8) }", "as its tag"),
            ("#[repr(u8)] enum E {}", "no values"),
        ];
        for (source, advice) in cases {
            let why = refusal(source);
            assert!(why.contains(advice), "{source}: {why}");
        }
    }

    #[test]
    fn attributes_that_say_nothing_are_refused() {
        let why = "belongs on the type";
        assert!(refusal("#[repr(C)] struct S { #[shared(concurrent)] a: u8 }").contains(why));
        assert!(refusal("#[repr(u8)] enum E { #[shared(concurrent)] A }").contains(why));
        assert!(refusal("#[repr(u8)] #[shared(concurrent)] enum E { A }").contains("for structs"));
        assert!(refusal("#[repr(C)] #[shared(other)] struct S { a: u8 }").contains("expected `concurrent`"));
    }

    #[test]
    fn every_field_is_in_the_schema_in_order() {
        let code = code("#[repr(C)] struct S { a: u8, r#type: [u8; 3] }");
        assert!(code.contains("of::<Self>(\"S\")"), "{code}");
        assert!(
            code.contains(".field(\"a\",::core::mem::offset_of!(Self,a),<u8as::outlive::Shared>::SCHEMA)"),
            "{code}"
        );
        let (a, raw) = (code.find("\"a\""), code.find("\"type\",::core::mem::offset_of!(Self,r#type)"));
        assert!(a < raw && a.is_some(), "{code}");
    }

    #[test]
    fn the_fields_of_a_tuple_struct_are_their_numbers() {
        let code = code("#[repr(transparent)] struct S(u64);");
        assert!(code.contains(".field(\"0\",::core::mem::offset_of!(Self,0),"), "{code}");
    }

    #[test]
    fn every_variant_is_in_the_schema_with_its_number() {
        let code = code("#[repr(u16)] enum E { A = 7, B }");
        assert!(code.contains(".variant(\"A\",Self::Aas::core::primitive::u64)"), "{code}");
        assert!(code.contains(".variant(\"B\",Self::Bas"), "{code}");
    }

    #[test]
    fn type_parameters_are_bounded_and_const_parameters_are_not() {
        let code = code("#[repr(C)] struct S<T, const N: usize> where T: Copy { a: [T; N] }");
        assert!(
            code.contains("impl<T:::outlive::Shared,constN:usize>::outlive::SharedforS<T,N>whereT:Copy"),
            "{code}"
        );
        assert!(!code.contains("const_"), "a generic type has no one schema to check at once: {code}");
    }

    #[test]
    fn the_crate_may_be_elsewhere() {
        let code = code("#[repr(C)] #[shared(crate = \"crate::inner\", concurrent)] struct S { a: A }");
        assert!(!code.contains("::outlive"), "{code}");
        assert!(code.contains("implcrate::inner::payload::ConcurrentforS"), "{code}");
        assert!(code.contains("bytes+=concurrent::<A>();"), "{code}");
    }
}
