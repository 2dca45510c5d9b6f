//! A record of the decision log, as programs read it. The fields are those of docs/decision-log.md.

use serde::Deserialize;

/// A record of a request or connection; fields without a value are empty.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Record {
    /// `request`, `connection` or `handshake`; empty for the log's records about itself.
    pub(crate) kind: String,
    pub(crate) time: String,
    pub(crate) client: String,
    pub(crate) forwarded_for: String,
    pub(crate) listener: String,
    pub(crate) identity: Vec<String>,
    pub(crate) principal: String,
    pub(crate) method: String,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) sni: String,
    /// `allowed`, `denied` or `failed`.
    pub(crate) decision: String,
    pub(crate) rule: String,
    pub(crate) reason: String,
    pub(crate) would_deny: Vec<String>,
    pub(crate) resolved: Vec<String>,
    pub(crate) endpoint: String,
    pub(crate) status: u16,
}

impl Record {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// It is no JSON object, or a field has another type.
    pub(crate) fn parse(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// Reads a line; `None` for one that is no record of a request or connection.
    pub(crate) fn read(line: &str) -> Option<Self> {
        Self::parse(line).ok().filter(|record| !record.kind.is_empty())
    }

    /// What was asked for, for people: `GET http://example.com/x`, `CONNECT example.com:443`, or the SNI.
    pub(crate) fn asked(&self) -> String {
        match (self.method.as_str(), self.sni.as_str()) {
            ("", "") => self.listener.clone(),
            ("", sni) => format!("TLS {sni}"),
            (method, _) => format!("{method} {}{}", self.authority, self.path),
        }
    }
}
