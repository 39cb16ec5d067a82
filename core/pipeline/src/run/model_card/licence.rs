//! What the licences of the parts mean for the merged model. A summary, not legal advice.

use std::collections::BTreeMap;

/// What a licence asks of those who share the model, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Terms {
    None,
    Notice,
    FileCopyleft,
    Copyleft,
    NetworkCopyleft,
    UseRestrictions,
    NonCommercial,
    NoDerivatives,
    Unknown,
}

/// The identifiers of the Hugging Face hub, which are those of SPDX in lower case for most licences.
const KNOWN: &[(&str, Terms)] = &[
    ("cc0-1.0", Terms::None),
    ("unlicense", Terms::None),
    ("wtfpl", Terms::None),
    ("apache-2.0", Terms::Notice),
    ("mit", Terms::Notice),
    ("bsd", Terms::Notice),
    ("bsd-2-clause", Terms::Notice),
    ("bsd-3-clause", Terms::Notice),
    ("isc", Terms::Notice),
    ("zlib", Terms::Notice),
    ("bsl-1.0", Terms::Notice),
    ("cc-by-2.0", Terms::Notice),
    ("cc-by-3.0", Terms::Notice),
    ("cc-by-4.0", Terms::Notice),
    ("cdla-permissive-2.0", Terms::Notice),
    ("mpl-2.0", Terms::FileCopyleft),
    ("lgpl-2.1", Terms::FileCopyleft),
    ("lgpl-3.0", Terms::FileCopyleft),
    ("epl-2.0", Terms::FileCopyleft),
    ("gpl-2.0", Terms::Copyleft),
    ("gpl-3.0", Terms::Copyleft),
    ("cc-by-sa-3.0", Terms::Copyleft),
    ("cc-by-sa-4.0", Terms::Copyleft),
    ("agpl-3.0", Terms::NetworkCopyleft),
    ("openrail", Terms::UseRestrictions),
    ("openrail++", Terms::UseRestrictions),
    ("creativeml-openrail-m", Terms::UseRestrictions),
    ("bigscience-openrail-m", Terms::UseRestrictions),
    ("bigscience-bloom-rail-1.0", Terms::UseRestrictions),
    ("llama2", Terms::UseRestrictions),
    ("llama3", Terms::UseRestrictions),
    ("gemma", Terms::UseRestrictions),
    ("cc-by-nc-2.0", Terms::NonCommercial),
    ("cc-by-nc-3.0", Terms::NonCommercial),
    ("cc-by-nc-4.0", Terms::NonCommercial),
    ("cc-by-nc-sa-3.0", Terms::NonCommercial),
    ("cc-by-nc-sa-4.0", Terms::NonCommercial),
    ("cc-by-nd-4.0", Terms::NoDerivatives),
    ("cc-by-nc-nd-4.0", Terms::NoDerivatives),
];

/// The licences of all parts together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LicenceSummary {
    /// The identifier for the Hugging Face hub: that of one part, `other`, or `unknown`.
    pub identifier: String,
    /// With `other`, a name for all licences together.
    pub name: Option<String>,
    /// The strictest consequence, in words.
    pub consequence: String,
}

impl LicenceSummary {
    /// Summarises the licences of parts: pairs of a part's name and its licence, which is empty if none is
    /// stated.
    pub fn of(parts: &[(String, String)]) -> Self {
        let mut found: BTreeMap<String, (Terms, Vec<&str>)> = BTreeMap::new();
        for (part, licence) in parts {
            let (identifier, terms) = recognised(licence);
            found.entry(identifier).or_insert((terms, Vec::new())).1.push(part);
        }
        let strictest = found.values().map(|(terms, _)| *terms).max().unwrap_or(Terms::Unknown);
        let strict: Vec<&String> =
            found.iter().filter(|(_, (terms, _))| *terms >= Terms::Copyleft).map(|(name, _)| name).collect();
        let identifier = match (found.len(), strict.as_slice()) {
            (0, _) => "unknown".to_owned(),
            (1, _) => found.keys().next().cloned().unwrap_or_default(),
            (_, [only]) if strictest != Terms::Unknown => (*only).clone(),
            _ => "other".to_owned(),
        };
        let identifier =
            if identifier == "unknown" || is_known(&identifier) { identifier } else { "other".to_owned() };
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        let name = (identifier == "other").then(|| names.join(" and "));
        let mut consequence = sentence(strictest).to_owned();
        let at_fault = found.values().filter(|(terms, _)| *terms == strictest);
        let at_fault: Vec<&str> = at_fault.flat_map(|(_, parts)| parts.iter().copied()).collect();
        if strictest > Terms::Notice {
            consequence = format!("{consequence} This follows from {}.", at_fault.join(", "));
        }
        if strict.len() > 1 {
            consequence.push_str(" Conditions of several licences apply, which may exclude each other.");
        }
        Self { identifier, name, consequence }
    }
}

fn is_known(identifier: &str) -> bool {
    identifier == "other" || KNOWN.iter().any(|(known, _)| *known == identifier)
}

/// Returns the hub's identifier of a licence and its terms. An unknown licence keeps its name.
fn recognised(licence: &str) -> (String, Terms) {
    let lower = licence.trim().to_lowercase();
    let short = ["-only", "-or-later", "+"].iter().find_map(|end| lower.strip_suffix(end)).unwrap_or(&lower);
    let name = short.split_whitespace().collect::<Vec<_>>().join("-");
    let known = KNOWN.iter().find(|(known, _)| *known == lower || *known == name);
    match known {
        Some((known, terms)) => ((*known).to_owned(), *terms),
        None if name.is_empty() => ("unknown".to_owned(), Terms::Unknown),
        None => (licence.trim().to_owned(), Terms::Unknown),
    }
}

fn sentence(terms: Terms) -> &'static str {
    match terms {
        Terms::None => "The licences of the parts ask nothing of those who share the model.",
        Terms::Notice => {
            "Whoever shares the model keeps the copyright notices and the licence texts of all parts."
        }
        Terms::FileCopyleft => {
            "Whoever shares the model offers changed versions of the part under the part's own licence."
        }
        Terms::Copyleft => "Whoever shares the model does so under the licence of the part.",
        Terms::NetworkCopyleft => {
            "Whoever shares the model, or lets others use it over a network, does so under the licence of \
             the part."
        }
        Terms::UseRestrictions => {
            "The licence of a part restricts what the model may be used for, and whoever shares the model \
             passes these restrictions on."
        }
        Terms::NonCommercial => "The model may not be used commercially.",
        Terms::NoDerivatives => {
            "The licence of a part forbids sharing changed versions, and a merged model may be one: ask the \
             authors before you share it."
        }
        Terms::Unknown => {
            "The licence of a part is not stated or not known to Chiasm: read it, or ask the authors, before \
             you use or share the model."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(licences: &[&str]) -> LicenceSummary {
        let named = licences.iter().enumerate().map(|(at, one)| (format!("p{at}"), (*one).to_owned()));
        LicenceSummary::of(&named.collect::<Vec<_>>())
    }

    #[test]
    fn the_strictest_licence_decides() {
        assert_eq!(of(&["Apache-2.0", "Apache-2.0"]).identifier, "apache-2.0");
        assert_eq!(of(&["Apache-2.0"]).name, None);
        let permissive = of(&["Apache-2.0", "MIT"]);
        assert_eq!(permissive.identifier, "other");
        assert_eq!(permissive.name.as_deref(), Some("apache-2.0 and mit"));
        let strict = of(&["MIT", "GPL-3.0-or-later"]);
        assert_eq!((strict.identifier.as_str(), strict.name), ("gpl-3.0", None));
        assert!(strict.consequence.contains("p1"), "{}", strict.consequence);
        let commercial = of(&["MIT", "CC-BY-NC-4.0"]);
        assert_eq!(commercial.identifier, "cc-by-nc-4.0");
        assert!(commercial.consequence.contains("commercially"));
        let both = of(&["GPL-3.0", "CC-BY-NC-4.0"]);
        assert_eq!(both.identifier, "other");
        assert!(both.consequence.contains("exclude each other"));
        for unknown in [of(&[""]), of(&["MIT", ""]), of(&["my own"])] {
            assert!(unknown.consequence.contains("not known"), "{unknown:?}");
            assert!(["unknown", "other"].contains(&unknown.identifier.as_str()), "{unknown:?}");
        }
    }
}
