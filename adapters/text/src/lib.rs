//! The text adapter: tokenise, truncate, mask.
