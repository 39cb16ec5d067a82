//! TLS: the certificate and its key, and the handshake.

use chiasm_pipeline::Error;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

/// The largest file of certificates or of a key.
const LARGEST: u64 = 1 << 20;

/// The files of a server's certificate, in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate of the server, and after it those of the authorities up to one that clients trust.
    pub certificates: PathBuf,
    /// The private key of the first certificate, without a password: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// If a file cannot be read, holds no certificate or key, or the key belongs to another certificate.
    pub fn read(&self) -> Result<TlsAcceptor, Error> {
        let bytes = read(&self.certificates)?;
        let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|e| refused(&self.certificates, "certificate", &e))?;
        if chain.is_empty() {
            return Err(refused(&self.certificates, "certificate", &"there is none in it"));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?);
        let key = key.map_err(|e| refused(&self.key, "private key without a password", &e))?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(|e| self.do_not_fit(&e))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn do_not_fit(&self, reason: &rustls::Error) -> Error {
        let (certificates, key) = (self.certificates.display(), self.key.display());
        let message = match reason {
            rustls::Error::InconsistentKeys(_) => {
                format!("the key in {key} does not belong to the first certificate in {certificates}")
            }
            other => {
                format!("the certificate in {certificates} and the key in {key} cannot be used: {other}")
            }
        };
        Error::input("chiasm::serve::tls", message, "give the key that the certificate was made for")
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    chiasm_host::read_file(path, LARGEST).map_err(|e| Error::io("read", path, e))
}

fn refused(path: &Path, expected: &str, reason: &dyn std::fmt::Display) -> Error {
    let message = format!("expected a {expected} in {}: {reason}", path.display());
    Error::input("chiasm::serve::tls", message, "give a file in PEM, with lines -----BEGIN ...-----")
}

/// Does the handshake of a connection. Returns `None`, and closes the connection, if it fails or takes longer
/// than `limit`.
pub async fn greet(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    limit: Duration,
) -> Option<TlsStream<TcpStream>> {
    timeout(limit, acceptor.accept(stream)).await.ok()?.ok()
}
