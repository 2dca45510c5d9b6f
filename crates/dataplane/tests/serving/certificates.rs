//! Certificates of authorities that tests make, and TLS handshakes with them.

use ir::{
    Alpn, ClientAuth, Credential, Der, Identity, KeyForm, PrivateKey, StringMatch, Termination, TlsParameters, Trust,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
    RevokedCertParams, SerialNumber,
};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::{self, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::secured::AnyCertificate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Der,
}

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each authority has its own name.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = Der(params.self_signed(&key).unwrap().der().to_vec().into());
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn sign(&self, names: &[&str]) -> Signed {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        Signed { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// A certificate that has expired.
    pub(crate) fn sign_expired(&self, names: &[&str]) -> Signed {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// A list of revoked certificates that counts now.
    pub(crate) fn list(&self, number: usize, revoked: &[&Signed]) -> Der {
        let revoked = revoked.iter().map(|signed| RevokedCertParams {
            serial_number: SerialNumber::from_slice(ir::x509::Certificate::parse(&signed.chain[0]).unwrap().serial),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(3000, 1, 1),
            crl_number: SerialNumber::from(number as u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Der(params.signed_by(&self.issuer).unwrap().der().to_vec().into())
    }

    /// The certificate of the authority.
    pub(crate) fn sign_own(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.certificate.0.to_vec())
    }

    pub(crate) fn trust(&self, names: &[&str]) -> Arc<Trust> {
        Arc::new(Trust {
            authorities: vec![self.certificate.clone()],
            revoked: Vec::new(),
            names: names.iter().map(|name| StringMatch::Exact((*name).into())).collect(),
            key_pins: Vec::new(),
            certificate_pins: Vec::new(),
        })
    }
}

impl Signed {
    pub(crate) fn identity(&self) -> Arc<Identity> {
        Arc::new(Identity {
            source: "test".into(),
            chain: self.chain.iter().map(|certificate| Der(certificate.to_vec().into())).collect(),
            key: PrivateKey { form: KeyForm::Pkcs8, der: self.key.clone().into() },
            staple: None,
        })
    }

    pub(crate) fn termination(&self, client: ClientAuth) -> Termination {
        Termination {
            credential: Credential::Ready(vec![self.identity()]),
            client,
            parameters: TlsParameters::default(),
            alpn: vec![Alpn::H2, Alpn::Http11],
        }
    }
}

/// A TLS handshake; without SNI if `sni` is empty.
pub(crate) async fn shake(
    address: SocketAddr,
    sni: &str,
    client: Option<&Signed>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    shake_on(TcpStream::connect(address).await?, sni, client, alpn).await
}

/// The same on an open connection.
pub(crate) async fn shake_on(
    stream: TcpStream,
    sni: &str,
    client: Option<&Signed>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::<AnyCertificate>::default());
    let mut config = match client {
        Some(signed) => {
            // For certificates of any version: rustls by itself accepts only certificates that webpki parses.
            let key = any_supported_type(&PrivateKeyDer::Pkcs8(signed.key.clone().into())).unwrap();
            let certified = CertifiedKey::new(signed.chain.clone(), key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config.enable_sni = !sni.is_empty();
    let name = if sni.is_empty() { "nobody.test" } else { sni };
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

/// The certificate that is presented for a name, and the response to a request for a host, over HTTP/1.1.
pub(crate) async fn fetch(
    address: SocketAddr,
    sni: &str,
    host: &str,
    client: Option<&Signed>,
) -> std::io::Result<(CertificateDer<'static>, String)> {
    let mut stream = shake(address, sni, client, &["http/1.1"]).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    assert!(!answer.is_empty());
    Ok((shown, answer))
}
