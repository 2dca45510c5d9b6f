//! The answers of a forward proxy that a person reads: why a destination is denied, and what to do about it.

use super::requested::RequestedDestination;
use crate::route::LocalAnswer;
use ir::Origin;
use std::fmt::Write;
use text::FieldValue;
use wire::view::RequestView;

/// The most ports that a text lists.
const SHOWN: usize = 8;

/// Why a client may not have a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DenialCause {
    /// No ServiceEntry has the host.
    NotListed,
    /// A ServiceEntry has the host with these ports alone.
    Port(Box<[u16]>, Option<Box<Origin>>),
    /// The client asks for a tunnel to a port where HTTP is spoken, in which no request could be checked.
    Tunnel,
    /// The client sends a request in clear text for a port where something else is spoken.
    Request,
    /// The client asks the proxy to use TLS.
    Https,
}

impl DenialCause {
    /// The detail for logs.
    pub const fn detail(&self) -> &'static str {
        match self {
            Self::NotListed => "egress_denied{not_listed}",
            Self::Port(..) => "egress_denied{port}",
            Self::Tunnel => "egress_denied{tunnel_to_http}",
            Self::Request => "egress_denied{request_to_tls_or_tcp}",
            Self::Https => "egress_denied{https_target}",
        }
    }

    /// What the client receives: 403, and the reason.
    pub fn answer(&self, requested: &RequestedDestination<'_>) -> LocalAnswer {
        let RequestedDestination { host, port, .. } = requested;
        let reason = match self {
            Self::NotListed => format!(
                "no ServiceEntry that this gateway sees has the host `{host}`. To allow it, add a ServiceEntry with the host and the port {port}."
            ),
            Self::Port(ports, _) => format!(
                "`{host}` is allowed on {}, and not on port {port}. To allow it, add the port to the ServiceEntry.",
                list(ports)
            ),
            Self::Tunnel => format!(
                "port {port} of `{host}` is declared as HTTP: send requests with an absolute URL (`http_proxy`), or declare the port as TLS or TCP for tunnels (CONNECT)."
            ),
            Self::Request => format!(
                "port {port} of `{host}` is not declared as HTTP: ask for a tunnel (CONNECT), or declare the port as HTTP."
            ),
            Self::Https => format!(
                "requests for `https:` URLs have to use a tunnel: send CONNECT {host}:{port}, as clients do by `https_proxy`."
            ),
        };
        let rule = match self {
            Self::Port(_, entry) => entry.clone(),
            _ => None,
        };
        LocalAnswer { rule, ..refusal(403, self.detail(), Refused::Denied, &reason) }
    }
}

/// Ports, for people.
fn list(ports: &[u16]) -> String {
    let mut text = String::from(if ports.len() == 1 { "port " } else { "the ports " });
    for (at, port) in ports.iter().take(SHOWN).enumerate() {
        let _ = write!(text, "{}{port}", if at == 0 { "" } else { ", " });
    }
    if ports.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

/// What an answer of a forward proxy says in its first words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The client may not have what it asks for.
    Denied,
    /// The request is not one for a forward proxy.
    Rejected,
    /// Nothing forbade it, and it came to nothing.
    Failed,
}

/// An answer with a reason in its body.
pub fn refusal(status: u16, detail: &'static str, refused: Refused, reason: &str) -> LocalAnswer {
    let what = match refused {
        Refused::Denied => "denied",
        Refused::Rejected => "request rejected",
        Refused::Failed => "failed",
    };
    LocalAnswer {
        status,
        body: format!("egress {what}: {reason}\n").into_bytes().into(),
        detail,
        is_denial: refused != Refused::Failed,
        ..LocalAnswer::default()
    }
}

/// The answer to a request that is for the proxy itself: the Proxy Auto-Config file, or what to do.
pub(crate) fn to_itself(view: &RequestView<'_>) -> LocalAnswer {
    if view.path == b"/proxy.pac" && matches!(view.method, b"GET" | b"HEAD") {
        return pac(view);
    }
    let reason = "this is a forward proxy: set `http_proxy` and `https_proxy` to its address, or use /proxy.pac as the automatic proxy configuration.";
    refusal(400, "egress_not_a_proxy_request", Refused::Rejected, reason)
}

/// The Proxy Auto-Config file, which names the proxy as the client does.
fn pac(view: &RequestView<'_>) -> LocalAnswer {
    let word = if view.scheme == "https" { "HTTPS" } else { "PROXY" };
    let authority = String::from_utf8_lossy(view.authority);
    let port = match (view.authority.len() > view.host.len(), view.scheme) {
        (true, _) => "",
        (false, "https") => ":443",
        (false, _) => ":80",
    };
    let script = format!(
        "function FindProxyForURL(url, host) {{\n  if (isPlainHostName(host) || host === \"127.0.0.1\" || host === \"[::1]\") return \"DIRECT\";\n  return \"{word} {authority}{port}\";\n}}\n"
    );
    let kind = ("content-type", FieldValue::from("application/x-ns-proxy-autoconfig"));
    LocalAnswer {
        status: 200,
        body: script.into_bytes().into(),
        fields: vec![kind],
        detail: "proxy_auto_config",
        ..LocalAnswer::default()
    }
}
