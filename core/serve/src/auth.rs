//! The API key.

use crate::api_error::ApiError;
use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};

/// The digest of the key that requests must have.
#[derive(Debug, Clone, Copy)]
pub struct ApiKey([u8; 32]);

impl ApiKey {
    /// Returns the key with this text.
    pub fn new(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Checks the header `Authorization: Bearer KEY`. The time does not depend on where a wrong key differs,
    /// since digests are compared, and every byte of them.
    ///
    /// # Errors
    /// 401 if it is missing or wrong.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key = given.and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
        });
        let digest: [u8; 32] = Sha256::digest(key.unwrap_or_default()).into();
        let difference = digest.iter().zip(self.0).fold(0, |all, (a, b)| all | (a ^ b));
        match key.is_some() && difference == 0 {
            true => Ok(()),
            false => Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "the API key is missing or wrong: send it as `Authorization: Bearer KEY`",
            )),
        }
    }
}
