//! The ServiceEntries that would allow what was denied, as far as they can be derived, and what a person has to decide.

use super::denials::{Denial, Target, Way};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use wire::address::AddressClass;

/// The longest name of an object.
const LONGEST_NAME: usize = 63;
const TLS_PORT: u16 = 443;
/// Ports that usually begin with TLS.
const USUALLY_TLS: [u16; 7] = [465, 636, 853, 989, 993, 995, 8443];
/// Ends of names that are of networks of one's own and not of the internet (RFC 6762, RFC 8375, RFC 9476, and ICANN's `internal`).
const OWN: [&str; 9] =
    [".local", ".localhost", ".internal", ".svc", ".home.arpa", ".lan", ".intranet", ".corp", ".localdomain"];

/// What a port is declared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Http,
    Tls,
    Tcp,
}

impl Protocol {
    /// That of a port which is asked for in this way.
    pub(super) fn of(way: Way, port: u16) -> Self {
        match way {
            Way::Request => Self::Http,
            Way::Sni => Self::Tls,
            Way::Tunnel if port == TLS_PORT => Self::Tls,
            Way::Tunnel => Self::Tcp,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
        }
    }
}

/// A ServiceEntry that is suggested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) ports: BTreeMap<u16, Protocol>,
    /// What a person should know.
    pub(super) remarks: BTreeSet<String>,
    /// Whether it is a comment until a person decides.
    pub(super) is_comment: bool,
    /// Addresses that the annotation has to name.
    pub(super) addresses: BTreeSet<String>,
    /// The names that the wildcard stands for.
    pub(super) names: BTreeSet<String>,
}

/// By host.
pub(super) type Entries = BTreeMap<String, Entry>;

/// Adds what would allow a destination that was denied for `reason`; a remark where no ServiceEntry does.
pub(super) fn add(entries: &mut Entries, target: &Target, denial: &Denial, reason: &str) -> Option<String> {
    let detail = reason.strip_prefix("egress_denied{").and_then(|rest| rest.strip_suffix('}'));
    match detail {
        Some("not_listed" | "port" | "address") => {}
        Some(detail) => return Some(of_detail(detail).to_owned()),
        None => return Some(of_reason(reason)),
    }
    let Some(port) = target.port else { return Some("the destination has no port".to_owned()) };
    let Some(class) = class(&target.host) else { return Some("the host is not a name of DNS".to_owned()) };
    let entry = entries.entry(target.host.clone()).or_default();
    entry.is_comment |= class.is_inside;
    entry.remarks.extend(class.remark);
    let protocol = Protocol::of(target.way, port);
    put_port(&mut entry.ports, &mut entry.remarks, port, protocol);
    if detail == Some("port") {
        entry.remarks.insert(format!(
            "another ServiceEntry has this host without port {port}: add the port there, or add this object"
        ));
    }
    if detail == Some("address") {
        entry.is_comment = true;
        entry.remarks.insert(format!(
            "the name has addresses that are not of the internet: {}. Allow them only if the destination is one of your own",
            if denial.resolved.is_empty() { "see the log".to_owned() } else { denial.resolved.join(", ") }
        ));
        entry.addresses.extend(refused(denial));
    }
    None
}

/// The addresses of DNS's answer that are not of the internet.
pub(super) fn refused(denial: &Denial) -> BTreeSet<String> {
    // What is refused has its class behind it.
    let refused = denial.resolved.iter().filter_map(|text| text.split_once(' '));
    refused.filter(|(address, _)| address.parse::<IpAddr>().is_ok()).map(|(address, _)| address.to_owned()).collect()
}

/// Adds a port to those of a ServiceEntry, with what a person should know of it.
pub(super) fn put_port(
    ports: &mut BTreeMap<u16, Protocol>,
    remarks: &mut BTreeSet<String>,
    port: u16,
    protocol: Protocol,
) {
    if protocol == Protocol::Tcp {
        let tls = if USUALLY_TLS.contains(&port) { ", as is usual on this port," } else { "" };
        remarks.insert(format!(
            "port {port}: what is sent in these tunnels was not seen. If it is TLS{tls} declare TLS, so that its server name is checked"
        ));
    }
    match ports.get(&port) {
        Some(other) if *other != protocol => {
            // In HTTP every request is checked, in TLS the name.
            let (safest, other) = ((*other).min(protocol), (*other).max(protocol));
            remarks.insert(format!(
                "port {port} was asked for as {} and as {}; a port has one protocol",
                safest.as_str(),
                other.as_str()
            ));
            ports.insert(port, safest);
        }
        _ => drop(ports.insert(port, protocol)),
    }
}

/// What a host is.
struct HostClass {
    /// Whether it is one of a network of one's own, or of this machine.
    is_inside: bool,
    remark: Option<String>,
}

/// `None` for what no ServiceEntry may have as a host.
fn class(host: &str) -> Option<HostClass> {
    if let Ok(address) = host.parse::<IpAddr>() {
        let class = AddressClass::of(address);
        let remark = match class.is_public() {
            true => "an address in place of a name: nothing but the port is checked".to_owned(),
            false => format!(
                "the address {address} is not one of the internet ({class}). Allow it only if the destination is one of your own"
            ),
        };
        return Some(HostClass { is_inside: !class.is_public(), remark: Some(remark) });
    }
    let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
    if !host.bytes().all(is_plain) {
        return None;
    }
    let is_inside =
        !host.contains('.') || OWN.iter().any(|end| host.ends_with(end)) || host.ends_with(".cluster.local");
    let remark = is_inside
        .then(|| "the name is not one of the internet. Allow it only if the destination is one of your own".to_owned());
    Some(HostClass { is_inside, remark })
}

/// What to do about denials that another ServiceEntry does not change.
fn of_detail(detail: &str) -> &'static str {
    match detail {
        "tunnel_to_http" => {
            "the ServiceEntry declares the port as HTTP: clients have to send requests (`http_proxy`), or the port has to be declared as TLS or TCP"
        }
        "request_to_tls_or_tcp" => {
            "the ServiceEntry declares the port as TLS or TCP: clients have to ask for a tunnel (CONNECT), or the port has to be declared as HTTP"
        }
        "https_target" => "the client has to use a tunnel (`https_proxy`) for `https:` URLs",
        "sni" => {
            "the ClientHello in the tunnel names another host: the client is at fault, or somebody hides a destination"
        }
        "no_sni" => {
            "the ClientHello in the tunnel has no name: for clients without SNI the port has to be declared as TCP"
        }
        "not_tls" => {
            "the client does not speak TLS in the tunnel: the port has to be declared as TCP, if that is meant to be"
        }
        "not_covered" => "the name is not one of the wildcard that the route goes to",
        _ => "see docs/flags.md",
    }
}

fn of_reason(reason: &str) -> String {
    if let Some(policy) =
        reason.strip_prefix("rbac_access_denied_matched_policy[").and_then(|rest| rest.strip_suffix(']'))
    {
        return of_policy(policy);
    }
    let text = match reason.split(['{', '[']).next().unwrap_or_default() {
        "egress_unauthenticated" => {
            "the client has to give the user and password of the proxy (annotation `moongate.dev/proxy-users` of the Gateway), a certificate or a token"
        }
        "egress_invalid_destination" | "egress_invalid_connect" | "egress_host_mismatch" => {
            "programs read this destination differently, so that no configuration allows it: the client has to send another spelling"
        }
        "egress_not_a_proxy_request" => "the request was for the proxy itself",
        "jwt_authn_access_denied" => "the token is not valid (docs/tokens.md)",
        "ext_authz_denied" | "ext_authz_error" => "the service of a CUSTOM policy decided",
        "route_not_found" | "filter_chain_not_found" | "misdirected_request" => {
            "no server of a Gateway, or no rule of a VirtualService, takes it: it needs both, and a ServiceEntry as their destination"
        }
        _ => "see docs/flags.md",
    };
    text.to_owned()
}

/// Which policy denied it: `ns[NAMESPACE]-policy[NAME]-rule[NUMBER]`, or `none` where no ALLOW policy has a rule for it.
fn of_policy(text: &str) -> String {
    let between =
        |before: &str| text.split_once(before).and_then(|(_, rest)| rest.split_once(']')).map(|(name, _)| name);
    match (between("ns["), between("policy["), between("rule[")) {
        (Some(namespace), Some(name), Some(rule)) => {
            format!("rule {rule} of the DENY policy AuthorizationPolicy {namespace}/{name} denies it: narrow the rule")
        }
        _ if text == "none" => {
            "no rule of the ALLOW policies that select the gateway allows it: add a rule to one of them (`moongate explain --proxy` shows why each does not match)".to_owned()
        }
        _ => format!("the policy `{text}` denies it"),
    }
}

/// Puts names of one domain together where there are several and their ports agree.
pub(super) fn widen(entries: Entries) -> Entries {
    let mut domains: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let may = |entry: &Entry| !entry.is_comment && entry.ports.values().all(|protocol| *protocol != Protocol::Tcp);
    for (host, _) in entries.iter().filter(|(host, entry)| may(entry) && host.parse::<IpAddr>().is_err()) {
        // Not for domains of one label: `*.com`.
        if let Some((_, domain)) = host.split_once('.').filter(|(_, domain)| domain.contains('.')) {
            domains.entry(domain.to_owned()).or_default().push(host.clone());
        }
    }
    let mut entries = entries;
    for (domain, hosts) in domains.into_iter().filter(|(_, hosts)| hosts.len() > 1) {
        let mut wide = Entry::default();
        let of_hosts = || hosts.iter().filter_map(|host| entries.get(host));
        let ports = || of_hosts().flat_map(|entry| entry.ports.iter());
        wide.ports.extend(ports().map(|(port, protocol)| (*port, *protocol)));
        if ports().any(|(port, protocol)| wide.ports.get(port) != Some(protocol)) {
            continue;
        }
        wide.remarks.extend(of_hosts().flat_map(|entry| entry.remarks.iter().cloned()));
        wide.remarks.insert(format!(
            "a wildcard allows every name of {domain}: not for domains where others can have names, such as those of clouds"
        ));
        for host in hosts {
            entries.remove(&host);
            wide.names.insert(host);
        }
        entries.insert(format!("*.{domain}"), wide);
    }
    entries
}

/// The object as YAML.
pub(super) fn yaml(host: &str, entry: &Entry, namespace: &str, name: &str) -> String {
    let address = host.parse::<IpAddr>().ok();
    let mut out = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: {name}\n  namespace: {namespace}\n"
    );
    if !entry.addresses.is_empty() {
        let list = entry.addresses.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let _ = write!(out, "  annotations:\n    moongate.dev/allowed-addresses: \"{list}\"\n");
    }
    out.push_str("spec:\n  hosts:\n");
    let resolution = match address {
        // An object needs a name; clients ask for the address.
        Some(address) => {
            let _ = write!(out, "  - \"{name}.invalid\"\n  addresses:\n  - \"{address}\"\n");
            "NONE"
        }
        None => {
            let _ = writeln!(out, "  - \"{host}\"");
            if host.starts_with('*') { "DYNAMIC_DNS" } else { "DNS" }
        }
    };
    let _ = write!(out, "  location: MESH_EXTERNAL\n  resolution: {resolution}\n  ports:\n");
    for line in entry.ports.iter().map(|(number, protocol)| port_yaml(*number, *protocol)).collect::<String>().lines() {
        let _ = writeln!(out, "  {line}");
    }
    out
}

/// A port in the list of a ServiceEntry.
pub(super) fn port_yaml(number: u16, protocol: Protocol) -> String {
    let (protocol, word) = (protocol.as_str(), protocol.as_str().to_ascii_lowercase());
    format!("- number: {number}\n  name: {word}-{number}\n  protocol: {protocol}\n")
}

/// A name for the object of a host that no other has.
pub(super) fn name(host: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = host.replace("*.", "any-").replace(['.', ':'], "-");
    let plain = format!("egress-{plain}");
    let cut = |length: usize| plain.get(..length.min(plain.len())).unwrap_or_default().trim_end_matches('-');
    let mut name = cut(LONGEST_NAME).to_owned();
    let mut number = 1;
    while !taken.insert(name.clone()) {
        number += 1;
        // Room for the number.
        name = format!("{}-{number}", cut(LONGEST_NAME - 8));
    }
    name
}
