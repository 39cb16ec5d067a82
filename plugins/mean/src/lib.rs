//! The mean fusion plugin.
