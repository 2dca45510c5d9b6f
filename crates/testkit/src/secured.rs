//! TLS for tests: the certificates of `oracle/certs`, backends that use them, and a client that accepts every certificate and reports its name.

use crate::client::{self, Ends, NoAnswer};
use anyhow::{Context, Result};
use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, NamedGroup, RootCertStore, ServerConfig, SignatureScheme,
    StreamOwned,
};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a request comes by TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
pub struct Hello {
    /// The name that is asked for; none sends none.
    #[serde(default)]
    pub sni: Option<String>,
    /// The certificate that the client shows if it is asked.
    #[serde(default)]
    pub client: Option<String>,
    /// The highest version, `1.2`.
    #[serde(default)]
    pub max: Option<String>,
    /// Protocols that are offered (ALPN).
    #[serde(default)]
    pub alpn: Vec<String>,
    /// The curves that the client has, by the names of TLS (`x25519`, `secp384r1`); all unless given.
    #[serde(default)]
    pub curves: Vec<String>,
    /// The kind of signature that it takes, `rsa` or `ecdsa`; both unless given.
    #[serde(default)]
    pub signed: Option<String>,
}

/// Names of certificates by the SHA-256 of their DER.
#[derive(Debug, Default)]
pub struct CertificateNames(BTreeMap<Vec<u8>, String>);

impl CertificateNames {
    /// The name of the first certificate of a chain; `unknown` for one that is none of them, `None` where there is no chain.
    pub fn of(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<&str> {
        let first = chain?.first()?;
        Some(self.0.get(digest(&SHA256, first).as_ref()).map_or("unknown", String::as_str))
    }
}

/// What a backend needs to speak TLS, and to say which certificate a client showed.
#[derive(Debug, Clone)]
pub struct BackendTls {
    /// What the backend shows and asks for.
    pub config: Arc<ServerConfig>,
    /// Names of the certificates that clients may show.
    pub names: Arc<CertificateNames>,
}

/// Certificates by name, in a folder of `NAME.crt` and `NAME.key`.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
    names: Arc<CertificateNames>,
}

impl Certificates {
    /// Those of the project's tests.
    pub fn of_project() -> Result<Self> {
        Self::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../oracle/certs"))
    }

    fn read(folder: &Path) -> Result<Self> {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".crt")) {
                let certificate = CertificateDer::from_pem_file(&path)?;
                names.insert(digest(&SHA256, &certificate).as_ref().to_vec(), name.to_owned());
            }
        }
        Ok(Self { folder: folder.to_owned(), names: Arc::new(CertificateNames(names)) })
    }

    fn chain(&self, name: &str) -> Result<Vec<CertificateDer<'static>>> {
        Ok(CertificateDer::pem_file_iter(self.folder.join(format!("{name}.crt")))?.collect::<Result<_, _>>()?)
    }

    fn key(&self, name: &str) -> Result<PrivateKeyDer<'static>> {
        Ok(PrivateKeyDer::from_pem_file(self.folder.join(format!("{name}.key")))?)
    }

    /// What a server needs to show one of them.
    pub fn server(&self, name: &str) -> Result<Arc<ServerConfig>> {
        let builder = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        Ok(Arc::new(builder.with_single_cert(self.chain(name)?, self.key(name)?)?))
    }

    /// What a backend needs to show the certificate `name`, and, where `authority` is given, to reject clients without one that it signed.
    pub fn backend(&self, name: &str, authority: Option<&str>) -> Result<BackendTls> {
        let provider = Arc::new(provider::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = match authority {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(self.chain(authority)?);
                let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(clients.build()?)
            }
        };
        let config = Arc::new(builder.with_single_cert(self.chain(name)?, self.key(name)?)?);
        Ok(BackendTls { config, names: Arc::clone(&self.names) })
    }

    fn client(&self, hello: &Hello) -> Result<Arc<ClientConfig>> {
        let mut provider = provider::default_provider();
        let named = |name: NamedGroup| format!("{name:?}").to_ascii_lowercase();
        provider.kx_groups.retain(|group| hello.curves.is_empty() || hello.curves.contains(&named(group.name())));
        let provider = Arc::new(provider);
        let versions = if hello.max.as_deref() == Some("1.2") { vec![&TLS12] } else { vec![&TLS13, &TLS12] };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions)?;
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider, key: hello.signed.clone() }));
        let mut config = match &hello.client {
            Some(name) => builder.with_client_auth_cert(self.chain(name)?, self.key(name)?)?,
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = hello.sni.is_some();
        config.alpn_protocols = hello.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        Ok(Arc::new(config))
    }

    /// Sends bytes over TLS, and reads until the peer closes. The name of the certificate that was shown, and what was read.
    pub fn exchange(&self, ends: impl Into<Ends>, hello: &Hello, bytes: &[u8]) -> Result<(String, Vec<u8>), NoAnswer> {
        let broken = |_| NoAnswer::Tls;
        let config = self.client(hello).map_err(|error| NoAnswer::Malformed(error.to_string()))?;
        let name = hello.sni.clone().unwrap_or_else(|| "nobody.invalid".to_owned());
        let name = ServerName::try_from(name).map_err(|error| NoAnswer::Malformed(error.to_string()))?;
        let stream = client::connect(ends).map_err(|error| match error {
            NoAnswer::Refused => NoAnswer::Refused,
            _ => NoAnswer::Tls,
        })?;
        let session = ClientConnection::new(config, name).map_err(broken)?;
        let mut stream = StreamOwned::new(session, stream);
        // A peer that answers early and closes makes the writing fail; its answer is still to be read.
        let _ = stream.write_all(bytes);
        let mut raw = Vec::new();
        match stream.read_to_end(&mut raw) {
            Ok(_) => {}
            // What ends without the word of TLS for it may be short; whoever reads the answer sees that.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(_) => return Err(NoAnswer::Tls),
        }
        let shown = self.names.of(stream.conn.peer_certificates()).unwrap_or("unknown").to_owned();
        if raw.is_empty() { Err(NoAnswer::Tls) } else { Ok((shown, raw)) }
    }
}

/// Accepts every certificate of a server, if it has a key of the given kind.
#[derive(Debug)]
pub struct AnyCertificate {
    provider: Arc<CryptoProvider>,
    /// `rsa` or `ecdsa`; any if absent.
    key: Option<String>,
}

impl Default for AnyCertificate {
    fn default() -> Self {
        Self { provider: Arc::new(provider::default_provider()), key: None }
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        schemes.retain(|scheme| self.key.as_deref().is_none_or(|kind| is_of(*scheme, kind)));
        schemes
    }
}

fn is_of(scheme: SignatureScheme, kind: &str) -> bool {
    format!("{scheme:?}").to_ascii_lowercase().starts_with(kind)
}
