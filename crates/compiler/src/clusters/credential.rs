//! The header that requests to a cluster get on the way out, from a Secret that an annotation of the DestinationRule names. What cannot be had is
//! an error, and no request is sent without it.

use crate::code;
use crate::context::CompileContext;
use crate::credentials::{Finder, Used};
use crate::destination_rules::Merged;
use crate::report::Notes;
use crate::settings::Workload;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ir::{
    ClientAuthentication, ClientTls, CredentialValue, HeaderName, HeaderValue, Hidden, OAuthClient, RequestCredential,
    Verify,
};
use resources::annotation::CREDENTIAL;
use resources::key::Key;
use resources::spec::scalar::Text;
use std::collections::BTreeMap;
use std::sync::Arc;

const HELP: &str = "give the Secret one of: `token`; `username` and `password`; `header` and `value`; `client-id`, `client-secret` and \
                    `token-url`, with `scope`, `audience`, `resource` and `client-authentication` (basic or post) if need be";
/// The headers that belong to a connection, to the framing of a message, or to routing.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Parameters of a request for a token.
const PARAMETERS: &[&str] = &["scope", "audience", "resource"];

/// What came of the annotation.
#[derive(Default)]
pub(super) struct Injected {
    pub(super) credential: Option<Arc<RequestCredential>>,
    /// Why nothing may be sent.
    pub(super) fault: Option<Arc<str>>,
    /// What is said of the rule that has the annotation.
    pub(super) notes: Option<(Key, Notes)>,
}

/// Finds the credential of the oldest rule that names one.
pub(super) fn compile(
    context: CompileContext<'_>,
    client: &Workload,
    rules: Option<&Merged<'_>>,
    tls: Option<&ClientTls>,
    used: &mut Used,
) -> Injected {
    let Some((key, name)) = rules.and_then(|rules| rules.annotation(CREDENTIAL)) else { return Injected::default() };
    let mut notes = Notes::default();
    let found = if *key.namespace == *client.namespace || *key.namespace == *context.settings.root_namespace() {
        let mut finder =
            Finder { context, workload: client, owner: &key.namespace, field: "metadata", notes: &mut notes, used };
        read(name.trim(), &mut finder)
    } else {
        // The rule decides who receives the Secret.
        let why = format!(
            "only rules of namespace {} or {} may name a Secret of the gateway",
            client.namespace,
            context.settings.root_namespace()
        );
        let help = format!("move the rule to namespace {}", client.namespace);
        notes.add_with_help(code::REQUEST_CREDENTIAL, "metadata.annotations", format!("{why}; requests get 503"), help);
        Err(why.into())
    };
    if found.is_ok() {
        lint(tls, &mut notes);
    }
    let (credential, fault) = match found {
        Ok(credential) => (Some(Arc::new(credential)), None),
        Err(why) => (None, Some(why)),
    };
    Injected { credential, fault, notes: (!notes.is_empty()).then(|| (key.clone(), notes)) }
}

fn read(name: &str, finder: &mut Finder<'_, '_>) -> Result<RequestCredential, Arc<str>> {
    let values = finder.values_of(name, "annotations").ok_or_else(|| format!("there is no Secret `{name}`"))?;
    let source = format!("Secret {}/{}", finder.workload.namespace, name.rsplit('/').next().unwrap_or(name));
    parse(&source, values).map_err(|why| {
        let message = format!("the credential of Secret `{name}` cannot be used: {why}; requests get 503");
        finder.notes.add_with_help(code::REQUEST_CREDENTIAL, "metadata.annotations", message, HELP);
        format!("the credential of Secret `{name}` cannot be used: {why}").into()
    })
}

/// What makes the credential visible on the way, or gives it to whoever answers.
fn lint(tls: Option<&ClientTls>, notes: &mut Notes) {
    let why = match tls {
        None => "the credential is sent in clear text",
        Some(tls) if tls.verify == Verify::Nothing && tls.key_pins.is_empty() => {
            "the credential is sent to an endpoint that is not verified"
        }
        Some(_) => return,
    };
    let help = "give the rule `trafficPolicy.tls` with the mode SIMPLE or MUTUAL, and without `insecureSkipVerify`";
    notes.add_with_help(code::CREDENTIAL_EXPOSED, "spec.trafficPolicy.tls", why, help);
}

/// The values of a Secret; a text of which no part of a value is in messages.
fn parse(source: &str, values: &BTreeMap<Text, Box<[u8]>>) -> Result<RequestCredential, String> {
    let mut texts = BTreeMap::new();
    for (key, octets) in values {
        // A line end at the end of a file is no part of a value.
        let text = std::str::from_utf8(octets.trim_ascii_end()).map_err(|_| format!("`{key}` is not text"))?;
        if text.is_empty() {
            return Err(format!("`{key}` is empty"));
        }
        texts.insert(&**key, text);
    }
    let authorization = || HeaderName::parse("authorization").map_err(|error| error.to_string());
    let keys: Vec<&str> = texts.keys().copied().collect();
    let get = |key: &str| texts.get(key).copied().unwrap_or_default();
    let (header, value) = match keys[..] {
        ["token"] => (authorization()?, fixed("token", &format!("Bearer {}", get("token")))?),
        ["password", "username"] if get("username").contains(':') => {
            return Err("`username` has a colon".to_owned());
        }
        ["password", "username"] => {
            let encoded = STANDARD.encode(format!("{}:{}", get("username"), get("password")));
            (authorization()?, fixed("password", &format!("Basic {encoded}"))?)
        }
        ["header", "value"] => {
            let header = HeaderName::parse(get("header")).map_err(|error| format!("`header`: {error}"))?;
            // As servers read it, and as it is compared with the header lines of clients.
            if RESERVED.contains(&&*header.as_str().replace('_', "-")) {
                return Err(format!("`header` names `{header}`, which belongs to the connection or to the message"));
            }
            (header, fixed("value", get("value"))?)
        }
        _ if texts.contains_key("token-url") => (authorization()?, CredentialValue::Token(Arc::new(client(&texts)?))),
        [] => return Err("it is empty".to_owned()),
        _ => return Err(format!("its keys are {}", keys.join(", "))),
    };
    Ok(RequestCredential { source: source.into(), header, value })
}

/// The error does not repeat the value.
fn fixed(key: &str, value: &str) -> Result<CredentialValue, String> {
    let value = HeaderValue::parse(value).map_err(|_| format!("`{key}` has a character that a header cannot have"))?;
    Ok(CredentialValue::Fixed(Hidden(value)))
}

fn client(texts: &BTreeMap<&str, &str>) -> Result<OAuthClient, String> {
    let needed = |key: &str| texts.get(key).copied().ok_or_else(|| format!("there is no `{key}`"));
    let known = ["client-id", "client-secret", "token-url", "client-authentication"];
    if let Some(other) = texts.keys().find(|key| !known.contains(key) && !PARAMETERS.contains(key)) {
        return Err(format!("it has the unknown key `{other}`"));
    }
    let token_url = needed("token-url")?;
    if !token_url.starts_with("https://") && !token_url.starts_with("http://") {
        return Err("`token-url` is not a URL of HTTP".to_owned());
    }
    let authentication = match texts.get("client-authentication").copied() {
        None | Some("basic") => ClientAuthentication::Basic,
        Some("post") => ClientAuthentication::Post,
        Some(_) => return Err("`client-authentication` is neither `basic` nor `post`".to_owned()),
    };
    let parameter = |name: &&str| Some(((*name).into(), (*texts.get(name)?).into()));
    Ok(OAuthClient {
        token_url: token_url.into(),
        id: needed("client-id")?.into(),
        secret: Hidden(needed("client-secret")?.into()),
        authentication,
        parameters: PARAMETERS.iter().filter_map(parameter).collect(),
    })
}
