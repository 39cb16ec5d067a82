//! Attributes of structs and fields.

use quote::ToTokens;
use syn::parse::Parse;
use syn::{Attribute, LitStr, Result};

/// Returns the contents of an attribute of this name.
pub fn attribute<T: Parse>(attributes: &[Attribute], name: &str) -> Result<Option<T>> {
    let found = attributes.iter().find(|attribute| attribute.path().is_ident(name));
    found.map(Attribute::parse_args).transpose()
}

/// Returns the documentation comment as one paragraph.
pub fn doc(attributes: &[Attribute]) -> String {
    let lines =
        attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| {
            let value = &attribute.meta.require_name_value().ok()?.value;
            syn::parse2::<LitStr>(value.to_token_stream()).ok().map(|text| text.value().trim().to_owned())
        });
    lines.collect::<Vec<_>>().join(" ").trim().to_owned()
}
