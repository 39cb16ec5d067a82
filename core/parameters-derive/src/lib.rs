//! The derive macros of `chiasm-parameters`, which re-exports them and documents them with examples.

mod attributes;
mod card_keys;

use attributes::{attribute, doc};
use proc_macro::TokenStream;
use proc_macro2::TokenStream as TokenStream2;
use quote::{ToTokens, quote};
use std::path::Path;
use syn::parse::{Parse, ParseStream};
use syn::{
    Data, DeriveInput, Error, Expr, ExprRange, Field, Fields, GenericArgument, Ident, PathArguments,
    RangeLimits, Result, Token, Type, parse_macro_input,
};

/// Implements `Parameters`, `ParameterType` and `Default` for a struct with named fields.
#[proc_macro_derive(Parameters, attributes(parameter, parameters))]
pub fn parameters(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive_parameters(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Implements `Choice` and `ParameterType` for an enum without fields.
#[proc_macro_derive(Choice)]
pub fn choice(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive_choice(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Implements `chiasm_plugin::CardKeys` for a struct with named fields that reads a table of a card.
#[proc_macro_derive(CardKeys, attributes(card))]
pub fn card_keys(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    card_keys::derive(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// The contents of `#[parameter(...)]` on a field.
#[derive(Default)]
struct FieldOptions {
    default: Option<Expr>,
    least: Option<Expr>,
    above: Option<Expr>,
    most: Option<Expr>,
    flatten: bool,
}

impl Parse for FieldOptions {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            if key == "flatten" {
                options.flatten = true;
            } else {
                input.parse::<Token![=]>()?;
                options.set(&key, input.parse()?)?;
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl FieldOptions {
    /// Sets the value of a key.
    fn set(&mut self, key: &Ident, value: Expr) -> Result<()> {
        match key.to_string().as_str() {
            "default" => self.default = Some(value),
            "above" => self.above = Some(value),
            "range" => {
                let Expr::Range(ExprRange { start, end, limits, .. }) = value else {
                    return Err(Error::new_spanned(value, "expected a range such as 0.0..=1.0"));
                };
                if let (Some(end), RangeLimits::HalfOpen(_)) = (&end, &limits) {
                    return Err(Error::new_spanned(end, "expected a range that includes its end: ..="));
                }
                self.least = start.map(|start| *start);
                self.most = end.map(|end| *end);
            }
            other => {
                let message = format!("unknown key `{other}`: expected default, range, above or flatten");
                return Err(Error::new_spanned(key, message));
            }
        }
        Ok(())
    }
}

/// The contents of `#[parameters(...)]` on a struct.
#[derive(Default)]
struct StructOptions {
    check: Option<syn::Path>,
    builder: bool,
}

impl Parse for StructOptions {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            match key.to_string().as_str() {
                "builder" => options.builder = true,
                "check" => {
                    input.parse::<Token![=]>()?;
                    options.check = Some(input.parse()?);
                }
                other => {
                    let message = format!("unknown key `{other}`: expected builder or check");
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

/// Returns the path of `chiasm-parameters`: a dependency of the calling crate, or re-exported by
/// `chiasm-plugin`.
fn root() -> TokenStream2 {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(|folder| Path::new(&folder).join("Cargo.toml"));
    let text = manifest.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    if text.contains("chiasm-parameters") {
        quote!(::chiasm_parameters)
    } else {
        quote!(::chiasm_plugin::parameters)
    }
}

fn optional_number(value: Option<&Expr>) -> TokenStream2 {
    match value {
        None => quote!(::core::option::Option::None),
        Some(value) => quote!(::core::option::Option::Some((#value) as f64)),
    }
}

/// The code that lists, checks and defaults one field.
struct FieldCode {
    list: TokenStream2,
    check: TokenStream2,
    default: TokenStream2,
}

fn field_code(field: &Field) -> Result<FieldCode> {
    let Some(name) = &field.ident else { return Err(Error::new_spanned(field, "expected a named field")) };
    let options: FieldOptions = attribute(&field.attrs, "parameter")?.unwrap_or_default();
    let (key, kind, text) = (name.to_string(), &field.ty, doc(&field.attrs));
    let default = match &options.default {
        Some(value) => quote!(#name: #value),
        None => quote!(#name: ::core::default::Default::default()),
    };
    if options.flatten {
        let root = root();
        return Ok(FieldCode {
            list: quote!(list.extend(#root::derived::flattened(&defaults.#name));),
            check: quote!(#root::Parameters::check(&self.#name)?;),
            default,
        });
    }
    if text.is_empty() {
        return Err(Error::new_spanned(field, "a parameter needs a documentation comment: users read it"));
    }
    let (key, root) = (key.trim_start_matches("r#"), root());
    let bounded = options.least.is_some() || options.above.is_some() || options.most.is_some();
    let [least, above, most] =
        [&options.least, &options.above, &options.most].map(|value| optional_number(value.as_ref()));
    let range = if bounded {
        quote!(::core::option::Option::Some(#root::Range {
            least: #least, above: #above, most: #most
        }))
    } else {
        quote!(::core::option::Option::None)
    };
    Ok(FieldCode {
        list: quote! {
            list.push(#root::Parameter {
                name: #key.to_owned(),
                kind: <#kind as #root::ParameterType>::kind(),
                range: #range,
                default: #root::derived::default_of(&defaults.#name),
                doc: #text.to_owned(),
            });
        },
        check: quote! {
            #root::derived::check_numbers(
                #key,
                &self.#name,
                #range,
            )?;
        },
        default,
    })
}

/// A method of the field's name that sets it. An optional field takes the value without `Some`.
fn setter(field: &Field) -> TokenStream2 {
    let (name, kind) = (&field.ident, &field.ty);
    let text = format!("Sets `{}`: {}", name.to_token_stream(), doc(&field.attrs));
    match inside_option(kind) {
        Some(inner) => quote! {
            #[doc = #text]
            #[must_use]
            pub fn #name(mut self, value: impl ::core::convert::Into<#inner>) -> Self {
                self.#name = ::core::option::Option::Some(value.into());
                self
            }
        },
        None => quote! {
            #[doc = #text]
            #[must_use]
            pub fn #name(mut self, value: impl ::core::convert::Into<#kind>) -> Self {
                self.#name = value.into();
                self
            }
        },
    }
}

/// The `T` of an `Option<T>`.
fn inside_option(kind: &Type) -> Option<&Type> {
    let Type::Path(path) = kind else { return None };
    let segment = path.path.segments.last().filter(|segment| segment.ident == "Option")?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(inner) => Some(inner),
        _ => None,
    })
}

fn derive_parameters(input: &DeriveInput) -> Result<TokenStream2> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(input, "expected a struct: its fields are the parameters"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(&data.fields, "expected named fields: they are the parameters"));
    };
    let (name, root) = (&input.ident, root());
    let options: StructOptions = attribute(&input.attrs, "parameters")?.unwrap_or_default();
    let together = options.check.map(|check| quote!(#check(self)?;));
    let setters = options.builder.then(|| {
        let setters = fields.named.iter().map(setter);
        quote!(impl #name { #(#setters)* })
    });
    let codes = fields.named.iter().map(field_code).collect::<Result<Vec<_>>>()?;
    let [list, check, default] = [
        codes.iter().map(|code| &code.list).collect::<Vec<_>>(),
        codes.iter().map(|code| &code.check).collect(),
        codes.iter().map(|code| &code.default).collect(),
    ];
    // An empty struct derives `Default` itself, or not at all.
    let default = (!codes.is_empty()).then(|| {
        quote! {
            impl ::core::default::Default for #name {
                fn default() -> Self {
                    Self { #(#default),* }
                }
            }
        }
    });
    Ok(quote! {
        #default
        #setters

        impl #root::Parameters for #name {
            fn list() -> ::std::vec::Vec<#root::Parameter> {
                #[allow(unused_variables, clippy::allow_attributes, reason = "a struct without fields")]
                let defaults = <Self as ::core::default::Default>::default();
                #[allow(unused_mut, clippy::allow_attributes, reason = "a struct without fields")]
                let mut list = ::std::vec::Vec::new();
                #(#list)*
                list
            }

            fn check(&self) -> ::core::result::Result<(), #root::ParameterError> {
                #(#check)*
                #together
                ::core::result::Result::Ok(())
            }
        }

        impl #root::ParameterType for #name {
            fn kind() -> #root::Kind {
                #root::Kind::Table { of: <Self as #root::Parameters>::list() }
            }
        }
    })
}

fn derive_choice(input: &DeriveInput) -> Result<TokenStream2> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(input, "expected an enum: its variants are the words"));
    };
    let (name, root) = (&input.ident, root());
    let variants = data.variants.iter().map(|variant| {
        if !variant.fields.is_empty() {
            return Err(Error::new_spanned(variant, "expected a variant without fields"));
        }
        let (ident, text) = (&variant.ident, doc(&variant.attrs));
        Ok(quote!((Self::#ident, #text)))
    });
    let variants = variants.collect::<Result<Vec<_>>>()?;
    Ok(quote! {
        impl #root::Choice for #name {
            const VARIANTS: &'static [(Self, &'static str)] = &[#(#variants),*];
        }

        impl #root::ParameterType for #name {
            fn kind() -> #root::Kind {
                #root::derived::choice::<Self>()
            }
        }
    })
}
