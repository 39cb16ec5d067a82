//! The derive macro `CardKeys`: the keys of a card from the fields of the struct that reads them.

use crate::attributes::{attribute, doc};
use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{
    Data, DeriveInput, Error, Field, Fields, GenericArgument, Ident, LitStr, PathArguments, Result, Token,
    Type,
};

/// The contents of `#[card(...)]` on a struct or a field.
#[derive(Default)]
struct CardOptions {
    table: Option<LitStr>,
    takes: Option<LitStr>,
}

impl Parse for CardOptions {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "table" => options.table = Some(input.parse()?),
                "takes" => options.takes = Some(input.parse()?),
                other => {
                    let message = format!("unknown key `{other}`: expected table or takes");
                    return Err(Error::new_spanned(key, message));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

/// Returns the implementation of `CardKeys`.
pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let options: CardOptions = attribute(&input.attrs, "card")?.unwrap_or_default();
    let table = options.table.map_or_else(|| "preprocessing".to_owned(), |table| table.value());
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "expected a struct with named fields"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(&input.ident, "expected a struct with named fields"));
    };
    let keys: Vec<TokenStream> =
        fields.named.iter().map(|field| key(&table, field)).collect::<Result<_>>()?;
    let name = &input.ident;
    Ok(quote! {
        impl ::chiasm_plugin::CardKeys for #name {
            const KEYS: &'static [::chiasm_plugin::CardKey] = &[#(#keys),*];
        }
    })
}

fn key(table: &str, field: &Field) -> Result<TokenStream> {
    let Some(name) = &field.ident else { return Err(Error::new_spanned(field, "expected a named field")) };
    let options: CardOptions = attribute(&field.attrs, "card")?.unwrap_or_default();
    let optional = argument(&field.ty, "Option");
    let takes = match (options.takes, words(optional.unwrap_or(&field.ty))) {
        (Some(takes), _) => takes.value(),
        (None, Some(words)) => words.to_owned(),
        (None, None) => {
            let message = "the values of this type need words: #[card(takes = \"...\")]";
            return Err(Error::new_spanned(&field.ty, message));
        }
    };
    let text = doc(&field.attrs);
    let (about, default) = match text.split_once("Default: ") {
        Some((about, default)) => (about.trim(), default.trim_end_matches('.')),
        None if optional.is_some() => (text.as_str(), "none"),
        None if field.attrs.iter().any(|attribute| attribute.path().is_ident("serde")) => {
            let message = "the documentation of a key with a default ends with `Default: ...`";
            return Err(Error::new_spanned(name, message));
        }
        None => (text.as_str(), "required"),
    };
    if about.is_empty() {
        return Err(Error::new_spanned(name, "a key needs a documentation comment: users read it"));
    }
    let name = format!("{table}.{}", name.to_string().trim_start_matches("r#"));
    Ok(quote!(::chiasm_plugin::CardKey::new(#name, #takes, #default, #about)))
}

/// Returns the words for the values of a simple type.
fn words(kind: &Type) -> Option<&'static str> {
    let Type::Path(path) = kind else { return None };
    Some(match path.path.segments.last()?.ident.to_string().as_str() {
        "bool" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" => "an integer >= 0",
        "f32" | "f64" => "a number",
        "String" => "text",
        _ => return None,
    })
}

/// Returns the argument of a generic type of this name.
fn argument<'a>(kind: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = kind else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(kind) => Some(kind),
        _ => None,
    })
}
