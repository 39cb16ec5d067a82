//! The keys of cards that an adapter reads.

/// A key of a card: of its table `[preprocessing]` or `[ports]`. An adapter lists its keys in
/// [`Adapter::KEYS`](crate::Adapter::KEYS), from where they get into the manifest of the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardKey {
    /// The table and the key, such as `preprocessing.size`.
    pub name: &'static str,
    /// The values it takes.
    pub takes: &'static str,
    /// What holds without it; "required" if it must be given.
    pub default: &'static str,
    /// What it does, in a sentence or two.
    pub about: &'static str,
}

impl CardKey {
    /// Returns a key.
    pub const fn new(
        name: &'static str,
        takes: &'static str,
        default: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, takes, default, about }
    }
}

/// The keys of a table of a card. `#[derive(CardKeys)]` makes them from the struct that reads the table: the
/// documentation of a field says what the key does, and ends with `Default: ...` if it has a default that is
/// not "none".
///
/// ```
/// use chiasm_plugin::CardKeys;
///
/// #[derive(serde::Deserialize, CardKeys)]
/// #[card(table = "preprocessing")]
/// struct Table {
///     /// The size of the input.
///     #[card(takes = "[height, width], in pixels")]
///     size: [u32; 2],
///     /// Multiplies the levels. Default: 1/255.
///     scale: Option<f64>,
/// }
/// assert_eq!(Table::KEYS[0].name, "preprocessing.size");
/// assert_eq!((Table::KEYS[0].default, Table::KEYS[1].default), ("required", "1/255"));
/// assert_eq!((Table::KEYS[1].takes, Table::KEYS[1].about), ("a number", "Multiplies the levels."));
/// # let _ = |table: Table| (table.size, table.scale);
/// ```
pub trait CardKeys {
    /// The keys, in the order of the fields.
    const KEYS: &'static [CardKey];
}

/// Returns the names of the fields that a type with `#[serde(deny_unknown_fields)]` reads, with `prefix`
/// before each. A test compares them with the keys that the adapter lists.
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Table {
///     size: Option<u32>,
///     mean: Option<f64>,
/// }
/// assert_eq!(chiasm_plugin::fields_of::<Table>("preprocessing."), ["preprocessing.mean",
/// "preprocessing.size"]);
/// # let _ = Table { size: None, mean: None }.size;
/// ```
pub fn fields_of<T: serde::de::DeserializeOwned>(prefix: &str) -> Vec<String> {
    // serde names all fields in its message about an unknown one.
    let unknown = serde_json::from_value::<T>(serde_json::json!({ "no such field": 0 }));
    let message = unknown.err().map(|e| e.to_string()).unwrap_or_default();
    let listed = message.split_once("expected").map_or("", |(_, listed)| listed);
    let mut names: Vec<String> =
        listed.split('`').skip(1).step_by(2).map(|name| format!("{prefix}{name}")).collect();
    names.sort();
    names
}
