//! What a recipe refers to: model cards, the encoders opened from them, and data files.

mod adapted;
pub mod card;
mod card_keys;
pub mod changed_card;
pub mod companions;
pub mod dataset;
pub mod encoder;
mod engine_words;
pub mod hub;
mod inner;
mod joined;
pub mod new_card;
pub mod raw;
pub mod removed_card;
pub mod shards;
mod text_ports;
pub mod trial;
