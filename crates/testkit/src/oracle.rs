//! What Istio itself answered to recorded requests, and the comparison with an answer of ours.

use crate::outcome::Question;
use crate::secured::Hello;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What is compared.
const COMPARED: &[&str] = &[
    "status",
    "error",
    "attempts",
    "location",
    "backend",
    "backends",
    "statuses",
    "path",
    "host",
    "method",
    "upstream",
    "downstream",
    "cert",
];
/// Bodies of local answers, which are ours to word.
const LOCAL_BODIES: &[&str] = &["no healthy upstream", "RBAC: access denied", "no_healthy_upstream"];

/// One configuration and what was asked of it.
#[derive(Debug)]
pub struct Recording {
    /// `http/140`.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The text of `in.yaml`.
    pub config: String,
    /// Requests and Istio's answers.
    pub exchanges: Vec<Exchange>,
}

/// One request and Istio's answer.
#[derive(Debug)]
pub struct Exchange {
    /// The request.
    pub question: Question,
    /// The answer.
    pub istio: Value,
}

#[derive(Deserialize)]
struct Line {
    request: RecordedRequest,
    istio: Value,
}

#[derive(Deserialize)]
struct RecordedRequest {
    port: u16,
    #[serde(default = "get")]
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    repeat: Option<u32>,
    tls: Option<Hello>,
    from: Option<IpAddr>,
}

fn get() -> String {
    "GET".to_owned()
}

impl Recording {
    /// Every recording of a profile, in the order of their numbers.
    pub fn read_profile(root: &Path, profile: &str) -> Result<Vec<Self>> {
        let folder = root.join(profile);
        let mut seeds: Vec<u32> = fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        seeds.sort_unstable();
        seeds.into_iter().map(|seed| Self::read(&folder.join(seed.to_string()), format!("{profile}/{seed}"))).collect()
    }

    fn read(folder: &Path, name: String) -> Result<Self> {
        let text =
            |file: &str| fs::read_to_string(folder.join(file)).with_context(|| format!("cannot read {file} of {name}"));
        let exchanges = text("exchanges.jsonl")?
            .lines()
            .map(|line| {
                let Line { request, istio } = serde_json::from_str(line).with_context(|| format!("{name}: {line}"))?;
                let RecordedRequest { port, method, path, headers, body, repeat, tls, from } = request;
                let part = !istio["attempts"].is_null();
                let question = Question {
                    port,
                    method,
                    target: path,
                    headers,
                    body,
                    repeat,
                    tls,
                    part,
                    proxied: None,
                    ends: false,
                    version: None,
                    from,
                    unanswered: istio["error"] == "timeout",
                };
                Ok(Exchange { question, istio })
            })
            .collect::<Result<_>>()?;
        Ok(Self { config: text("in.yaml")?, name, folder: folder.to_owned(), exchanges })
    }

    /// What the gateway is started with beside the configuration.
    pub fn args(&self) -> Result<Vec<String>> {
        let file = self.folder.join("args");
        if !file.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    /// The mesh settings that go with it, if any.
    pub fn mesh_config(&self) -> Option<PathBuf> {
        Some(self.folder.join("mesh.yaml")).filter(|path| path.exists())
    }
}

/// Whether an answer of ours is one that Istio should have given: 421 where the name of the handshake and the host differ (S-38).
pub fn is_stricter(question: &Question, ours: &Value) -> bool {
    let host = question.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = host.map(|(_, value)| value.rsplit_once(':').map_or(&**value, |(host, _)| host));
    let sni = question.tls.as_ref().and_then(|tls| tls.sni.as_deref());
    ours["status"] == 421 && sni.is_some() && sni != host
}

/// The fields in which an answer of ours parts from Istio's; none when they agree.
pub fn differences(istio: &Value, ours: &Value, config: &str) -> Vec<String> {
    let mut compared = COMPARED.to_vec();
    let body = istio.get("body").and_then(Value::as_str).unwrap_or_default();
    let status = istio.get("status").and_then(Value::as_u64).unwrap_or_default();
    if !body.is_empty() && !LOCAL_BODIES.contains(&body) && (status < 400 || config.contains(body)) {
        compared.push("body");
    }
    if istio.get("origin").is_some() {
        compared.push("origin");
    }
    // Where any of several endpoints is right, Istio's answer lists them.
    let any_of = |field: &str| {
        let any = istio.get("backend_any").and_then(Value::as_array);
        field == "backend" && any.zip(ours.get(field)).is_some_and(|(any, one)| any.contains(one))
    };
    let part = |field: &&&str| istio.get(**field) != ours.get(**field) && !any_of(field);
    compared.iter().filter(part).map(|field| (*field).to_owned()).collect()
}

/// The fields in which the lines of the access log of an exchange part from Istio's, as `log.FIELD`; `log` where the numbers of lines differ.
/// `has_backend` says that the body is the echo of a backend, whose length says nothing.
pub fn log_differences(istio: &[Value], ours: &[Value], has_backend: bool) -> Vec<String> {
    if istio.len() != ours.len() {
        return vec!["log".to_owned()];
    }
    let mut fields = BTreeSet::new();
    for (istio, ours) in istio.iter().zip(ours) {
        // Octets of TLS that passes through vary.
        let is_raw = istio["protocol"].is_null() && !istio["requested_server_name"].is_null();
        for (field, value) in istio.as_object().into_iter().flatten() {
            let varies = is_raw && field.starts_with("bytes_") || has_backend && field == "bytes_sent";
            if !varies && ours.get(field) != Some(value) {
                fields.insert(format!("log.{field}"));
            }
        }
    }
    fields.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::differences;
    use serde_json::json;

    #[test]
    fn the_words_of_a_local_answer_are_not_compared() {
        let istio = json!({"status": 503, "body": "no healthy upstream"});
        assert!(differences(&istio, &json!({"status": 503, "body": ""}), "").is_empty());
        assert_eq!(differences(&istio, &json!({"status": 502}), ""), vec!["status"]);
    }

    #[test]
    fn a_configured_body_is_compared() {
        let istio = json!({"status": 418, "body": "tea"});
        assert_eq!(differences(&istio, &json!({"status": 418, "body": ""}), "body: tea"), vec!["body"]);
    }
}
