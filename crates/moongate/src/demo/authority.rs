//! The certificate authority of the egress demo, made at its first start: local destinations in TLS have certificates of it, and so have clients.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The names of a client's certificate: policies know its client by the second one, the identity of a workload (SPIFFE).
const CLIENT: &str = "client.example.com";
const CLIENT_URI: &str = "spiffe://cluster.local/ns/default/sa/client";

/// The authority, with its key.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate as PEM, in a file.
    pub(super) file: PathBuf,
}

/// A certificate with its key.
pub(super) struct Signed {
    pub(super) certificate: rcgen::Certificate,
    pub(super) key: KeyPair,
}

impl Authority {
    /// Makes an authority and writes it to a folder.
    pub(super) fn make(folder: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = params()?.self_signed(&key)?;
        write(&folder.join("ca.crt"), &certificate.pem())?;
        write(&folder.join("ca.key"), &key.serialize_pem())?;
        Self::open(folder)
    }

    /// The authority that was written to a folder.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let file = folder.join("ca.key");
        let key = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let key = KeyPair::from_pem(&key).with_context(|| format!("{} holds no key", file.display()))?;
        Ok(Self { issuer: Issuer::new(params()?, key), file: folder.join("ca.crt") })
    }

    /// Signs a certificate for a client, or for a server with these names.
    pub(super) fn sign(&self, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Result<Signed> {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        if usage == ExtendedKeyUsagePurpose::ClientAuth {
            params.subject_alt_names.push(SanType::URI(CLIENT_URI.try_into()?));
        }
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or_default());
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok(Signed { certificate: params.signed_by(&key, &self.issuer)?, key })
    }

    /// Writes what examples name to their folder, anew at each start: `certs/ca.crt`, `client` and `proxy` with their keys, and Secrets that have the
    /// same.
    pub(super) fn write_certificates(&self, config: &Path) -> Result<()> {
        let folder = config.join("certs");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let authority = fs::read_to_string(&self.file)?;
        write(&folder.join("ca.crt"), &authority)?;
        let mut secrets = String::from("# Written anew at each start of the demo, as are the files in `certs`.\n");
        for (name, names, usage) in [
            ("client", [CLIENT].as_slice(), ExtendedKeyUsagePurpose::ClientAuth),
            ("proxy", ["localhost", "127.0.0.1"].as_slice(), ExtendedKeyUsagePurpose::ServerAuth),
        ] {
            let signed = self.sign(names, usage)?;
            let (certificate, key) = (signed.certificate.pem(), signed.key.serialize_pem());
            write(&folder.join(format!("{name}.crt")), &certificate)?;
            write(&folder.join(format!("{name}.key")), &key)?;
            secrets += &secret(
                &format!("{name}-credential"),
                &[("tls.crt", &certificate), ("tls.key", &key), ("ca.crt", &authority)],
            );
        }
        write(&config.join("credentials.yaml"), &secrets)
    }
}

/// A Secret of the gateway's namespace as a document of YAML.
fn secret(name: &str, values: &[(&str, &str)]) -> String {
    let mut text = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: istio-system\nstringData:\n"
    );
    for (key, value) in values {
        text += &format!("  {key}: |\n");
        text.extend(value.lines().map(|line| format!("    {line}\n")));
    }
    text
}

fn params() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Moongate demo");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// Writes a file that only its owner can read, because it may hold a private key.
fn write(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}
