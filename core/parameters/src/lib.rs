//! Parameters of methods, declared once in a struct.
//!
//! The author of a method writes one struct. The documentation, type, range and default of each field are
//! those of the parameter of the same name; [`Parameters::list`] returns them, [`read`] checks a JSON object
//! against them and [`Parameters::check`] checks a value that was made in Rust.
//!
//! ```
//! use chiasm_parameters::{Choice, Kind, Parameters, read};
//! use serde::{Deserialize, Serialize};
//! use serde_json::json;
//!
//! /// The loss of a pair of modalities.
//! #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Choice)]
//! #[serde(rename_all = "lowercase")]
//! enum Loss {
//!     /// Contrasts each pair with the other pairs of the mini-batch.
//!     InfoNce,
//!     /// Mean squared distance.
//!     Mse,
//! }
//!
//! /// What a recipe may set.
//! #[derive(Clone, Debug, Serialize, Deserialize, Parameters)]
//! #[serde(default, deny_unknown_fields)]
//! struct Training {
//!     /// The loss.
//!     #[parameter(default = Loss::InfoNce)]
//!     loss: Loss,
//!     /// Fraction of the hidden units set to zero at a step.
//!     #[parameter(default = 0.3, range = 0.0..=0.95)]
//!     dropout: f64,
//!     /// Mini-batches to train for; chosen by early stopping when not set.
//!     #[parameter(range = 1..)]
//!     steps: Option<u64>,
//! }
//!
//! let list = Training::list();
//! assert_eq!(list[1].name, "dropout");
//! assert_eq!(list[1].kind, Kind::Number);
//! assert_eq!(list[1].default, json!(0.3));
//!
//! let training: Training = read(&json!({ "loss": "mse" }))?;
//! assert_eq!((training.loss, training.dropout, training.steps), (Loss::Mse, 0.3, None));
//!
//! let error = read::<Training>(&json!({ "dropout": 2 })).unwrap_err();
//! assert_eq!(error.to_string(), "parameter `dropout`: expected a number from 0 to 0.95, got 2");
//! # Ok::<(), chiasm_parameters::ParameterError>(())
//! ```
//!
//! # Attributes of a field
//!
//! | attribute | meaning |
//! |---|---|
//! | `default = EXPR` | the value when the parameter is not set; without it, that of `Default` |
//! | `range = A..=B` | every number of the value lies between A and B; either end may be left out |
//! | `above = A` | every number of the value is larger than A |
//! | `flatten` | the field is a struct of parameters, which become parameters of this one; it needs `#[serde(flatten)]` too, and the outer struct no `deny_unknown_fields` |
//!
//! On the struct, `#[parameters(check = path)]` names a function `fn(&Self) -> Result<(), ParameterError>`
//! that checks conditions on several parameters, such as a width that is a multiple of the number of heads.
//! `#[parameters(builder)]` adds a method for each field that sets it and returns the struct.

#[doc(hidden)]
pub mod derived;
mod error;
mod kind;
mod modalities;
mod parameters;
mod range;
mod types;

// The derive macros name this crate by its full path, also inside it.
extern crate self as chiasm_parameters;

pub use chiasm_parameters_derive::{CardKeys, Choice, Parameters};
pub use error::ParameterError;
pub use kind::{ChoiceValue, Kind, Parameter, check_object};
pub use modalities::PerModality;
pub use parameters::{NoParameters, Parameters, read};
pub use range::Range;
pub use types::{Choice, ParameterType};
