//! A certificate for 127.0.0.1 that signs itself, and its key (RFC 5280, RFC 5480).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};

const SEQUENCE: u8 = 0x30;
/// `ecdsa-with-SHA256`, `id-ecPublicKey` and `secp256r1`, `commonName`, and `subjectAltName`, in DER.
const ECDSA: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const P256_KEY: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const COMMON_NAME: &[u8] = b"\x06\x03\x55\x04\x03";
const OTHER_NAMES: &[u8] = b"\x06\x03\x55\x1d\x11";

/// A certificate and its key.
pub struct Certificate {
    pub der: Vec<u8>,
    pub key: Vec<u8>,
}

impl Certificate {
    /// Makes one with a new key, from 2020 to 2049.
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref(), &random).unwrap();
        let name =
            der(SEQUENCE, &[&der(0x31, &[&der(SEQUENCE, &[COMMON_NAME, &der(0x0c, &[b"chiasm test"])])])]);
        let dates = [der(0x17, &[b"200101000000Z"]), der(0x17, &[b"491231235959Z"])].concat();
        let point = [b"\0", pair.public_key().as_ref()].concat();
        let names = der(SEQUENCE, &[&der(0x82, &[b"localhost"]), &der(0x87, &[&[127, 0, 0, 1]])]);
        let extension = der(SEQUENCE, &[OTHER_NAMES, &der(0x04, &[&names])]);
        let algorithm = der(SEQUENCE, &[ECDSA]);
        let content = der(
            SEQUENCE,
            &[
                &der(0xa0, &[b"\x02\x01\x02"]), // version 3
                b"\x02\x01\x01",                // its number
                &algorithm,
                &name,
                &der(SEQUENCE, &[&dates]),
                &name,
                &der(SEQUENCE, &[&der(SEQUENCE, &[P256_KEY]), &der(0x03, &[&point])]),
                &der(0xa3, &[&der(SEQUENCE, &[&extension])]),
            ],
        );
        let signature = pair.sign(&random, &content).unwrap();
        let signature = der(0x03, &[b"\0", signature.as_ref()]);
        Self { der: der(SEQUENCE, &[&content, &algorithm, &signature]), key: key.as_ref().to_vec() }
    }

    /// Returns the certificate as PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// Returns the key as PEM.
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }
}

/// Returns a value of DER: its tag, length and content.
fn der(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = match u16::try_from(content.len()).unwrap() {
        short @ 0..128 => vec![short as u8],
        middle @ 128..256 => vec![0x81, middle as u8],
        long => [vec![0x82], long.to_be_bytes().to_vec()].concat(),
    };
    [vec![tag], length, content].concat()
}

fn pem(kind: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}
