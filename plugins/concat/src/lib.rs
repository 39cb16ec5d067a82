//! The concat fusion plugin.
