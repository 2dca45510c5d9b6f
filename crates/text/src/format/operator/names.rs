//! The names of operators that are no facts, and the name that was probably meant by an unknown one.

#[cfg(test)]
use super::Operator;
use super::fact::FACTS;

/// Operators with arguments, and those that are another spelling of one; the table suggests them.
pub(super) const OTHERS: &[&str] = &[
    "REQ",
    "RESP",
    "TRAILER",
    "GRPC_STATUS",
    "GRPC_STATUS_NUMBER",
    "DYNAMIC_METADATA",
    "ENVIRONMENT",
    "QUERY_PARAM",
    "PATH",
    "START_TIME",
    "EMIT_TIME",
    "STREAM_ID",
    "REQUEST_ID",
    "DURATION",
    "REQUEST_DURATION",
    "RESPONSE_DURATION",
    "RESPONSE_TX_DURATION",
    "COMMON_DURATION",
    "UPSTREAM_HOST",
];

/// Every operator of an address.
const ADDRESS_NAMES: &[&str] = &[
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_PORT",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_REMOTE_PORT",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_LOCAL_PORT",
];

/// Operators of Envoy 1.40 that have no value here: of its metadata, filter states and connections, and of things that are not recorded.
pub(super) const ABSENT: &[&str] = &[
    "ACCESS_LOG_TIMEOUT",
    "BYTES_RETRANSMITTED",
    "CEL",
    "CLUSTER_METADATA",
    "CONNECTION_ID",
    "CUSTOM_FLAGS",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_HEADER_BYTES_SENT",
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_EMAIL_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_IP_SAN",
    "DOWNSTREAM_PEER_ISSUER_CN",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DOWNSTREAM_WIRE_BYTES_RECEIVED",
    "DOWNSTREAM_WIRE_BYTES_SENT",
    "EMIT_TIME_LOCAL",
    "FILTER_CHAIN_NAME",
    "FILTER_STATE",
    "LOCAL_REPLY_BODY",
    "METADATA",
    "PACKETS_RETRANSMITTED",
    "PER_REQUEST_STATE",
    "QUERY_PARAMS",
    "REQUEST_TX_DURATION",
    "ROUNDTRIP_DURATION",
    "SPAN_ID",
    "START_TIME_LOCAL",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "TRACE_ID",
    "UNIQUE_ID",
    "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "UPSTREAM_FILTER_STATE",
    "UPSTREAM_HEADER_BYTES_RECEIVED",
    "UPSTREAM_HEADER_BYTES_SENT",
    "UPSTREAM_HOSTS_ATTEMPTED",
    "UPSTREAM_HOST_NAME",
    "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    "UPSTREAM_HOST_NAMES_ATTEMPTED",
    "UPSTREAM_METADATA",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_PEER_DNS_SAN",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_LOCAL_DNS_SAN",
    "UPSTREAM_LOCAL_SUBJECT",
    "UPSTREAM_LOCAL_URI_SAN",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_VERSION",
    "UPSTREAM_WIRE_BYTES_RECEIVED",
    "UPSTREAM_WIRE_BYTES_SENT",
    "VIRTUAL_CLUSTER_NAME",
];

/// The name of the operator that is nearest to one that does not exist.
pub(in crate::format) fn nearest(name: &str) -> Option<&'static str> {
    // The distance is quadratic in the length; no name is as long as that.
    if name.len() > 60 {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    let known = FACTS.iter().map(|(name, _)| *name).chain(OTHERS.iter().copied()).chain(ADDRESS_NAMES.iter().copied());
    let (distance, known) = known.map(|known| (strsim::damerau_levenshtein(&upper, known), known)).min()?;
    (distance <= 1 + known.len() / 4).then_some(known)
}

/// Every operator with a value and no argument, by its name.
#[cfg(test)]
pub(in crate::format) fn every() -> Vec<(&'static str, Operator)> {
    let parse = |name: &'static str| (name, Operator::parse(name, None).unwrap_or_else(|_| panic!("{name}")));
    let names = FACTS.iter().map(|(name, _)| *name).chain(ADDRESS_NAMES.iter().copied());
    const WITH_ARGUMENT: [&str; 7] =
        ["REQ", "RESP", "TRAILER", "DYNAMIC_METADATA", "ENVIRONMENT", "QUERY_PARAM", "COMMON_DURATION"];
    let others = OTHERS.iter().copied().filter(|name| !WITH_ARGUMENT.contains(name));
    names.chain(others).chain(ABSENT.iter().copied()).map(parse).collect()
}
