//! The stable ABI between the Chiasm host and its plugins: types only.
