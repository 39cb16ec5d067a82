//! The Rust types that a parameter may have.

use crate::{Kind, PerModality};
use serde::Serialize;

/// A type that a parameter may have.
pub trait ParameterType {
    /// The kind of its value.
    fn kind() -> Kind;

    /// Calls `visit` with every number of the value.
    fn each_number(&self, visit: &mut dyn FnMut(f64)) {
        let _ = visit;
    }
}

/// An enum without fields as a choice of words. Implement it with `#[derive(Choice)]`; the words are those
/// that serde writes, so that `#[serde(rename_all = "kebab-case")]` applies.
pub trait Choice: Serialize + Sized + 'static {
    /// Every variant with its documentation.
    const VARIANTS: &'static [(Self, &'static str)];
}

impl ParameterType for bool {
    fn kind() -> Kind {
        Kind::Boolean
    }
}

impl ParameterType for String {
    fn kind() -> Kind {
        Kind::Text
    }
}

macro_rules! numbers {
    ($($type:ty: $kind:ident),*) => {
        $(impl ParameterType for $type {
            fn kind() -> Kind {
                Kind::$kind
            }

            fn each_number(&self, visit: &mut dyn FnMut(f64)) {
                visit(*self as f64);
            }
        })*
    };
}

numbers!(u32: Integer, u64: Integer, usize: Integer, i64: Integer, f32: Number, f64: Number);

impl<T: ParameterType> ParameterType for Option<T> {
    fn kind() -> Kind {
        T::kind()
    }

    fn each_number(&self, visit: &mut dyn FnMut(f64)) {
        self.iter().for_each(|value| value.each_number(visit));
    }
}

impl<T: ParameterType> ParameterType for Vec<T> {
    fn kind() -> Kind {
        Kind::List { of: Box::new(T::kind()), length: None }
    }

    fn each_number(&self, visit: &mut dyn FnMut(f64)) {
        self.iter().for_each(|value| value.each_number(visit));
    }
}

impl<T: ParameterType, const N: usize> ParameterType for [T; N] {
    fn kind() -> Kind {
        Kind::List { of: Box::new(T::kind()), length: Some(N) }
    }

    fn each_number(&self, visit: &mut dyn FnMut(f64)) {
        self.iter().for_each(|value| value.each_number(visit));
    }
}

impl<T: ParameterType> ParameterType for PerModality<T> {
    fn kind() -> Kind {
        Kind::PerModality { of: Box::new(T::kind()) }
    }

    fn each_number(&self, visit: &mut dyn FnMut(f64)) {
        self.values().into_iter().for_each(|value| value.each_number(visit));
    }
}
