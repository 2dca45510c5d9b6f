//! The codes of what the compiler reports, in one table: `MG501…` for policies, `MG6…` for Gateways, `MG7…` for VirtualServices and `MG8…` for
//! destinations and their endpoints. Codes are stable; `docs/diagnostics.md` explains them.

use resources::diagnostic::Severity;

/// One code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// `MG` and four digits.
    pub id: &'static str,
    /// How grave it is.
    pub severity: Severity,
    /// What it stands for, for the list of codes.
    pub title: &'static str,
}

macro_rules! codes {
    ($($name:ident $id:literal $severity:ident $title:literal)+) => {
        $(
            #[doc = $title]
            pub const $name: Code = Code { id: $id, severity: Severity::$severity, title: $title };
        )+
        /// All codes, in their order.
        pub const ALL: &[Code] = &[$($name),+];

        /// The name of a code, such as `POLICY_ELSEWHERE`.
        pub fn name(id: &str) -> Option<&'static str> {
            match id {
                $($id => Some(stringify!($name)),)+
                _ => None,
            }
        }
    };
}

codes! {
    POLICY_NOT_ENFORCED "MG5010" Error "the policy selects a workload of this process and is not enforced yet"
    POLICY_ELSEWHERE "MG5011" Info "the policy selects no workload of this process"
    POLICY_OBSERVES "MG5013" Info "the policy only audits or is a dry run: no request depends on it"
    TOKENS_OPTIONAL "MG5017" Info "the RequestAuthentication requires no token, and no AuthorizationPolicy is for the workload"
    HOST_WITHOUT_PORT "MG5030" Warning "a host of a policy does not match the same host with a port"
    PATH_WITHOUT_SLASH "MG5031" Warning "a path of a policy does not match the same path with a trailing slash"
    RULE_NEVER_MATCHES "MG5032" Warning "the rule of a policy never matches"
    HTTP_RULE_ON_TCP "MG5033" Warning "the rule has conditions on HTTP, and applies to TCP or passthrough servers in another way"

    PROVIDER_UNKNOWN "MG5040" Error "the provider of a policy cannot be asked, so that every request is denied"
    PROVIDER_CONFLICT "MG5041" Error "policies for one workload name several providers, so that every request is denied"
    CUSTOM_NOT_ON_TCP "MG5043" Warning "a provider in HTTP does not check connections to TCP or passthrough servers"
    PROVIDER_NOT_HTTP2 "MG5044" Error "the provider of a policy is a gRPC service, and its port does not speak HTTP/2"

    OTHER_WORKLOAD "MG6001" Warning "the Gateway selects no workload of this process"
    NOT_SERVED "MG6002" Error "the server's protocol or mode is not served, so that its port stays closed"
    PORT_CONFLICT "MG6003" Error "an older server has the port with another protocol"
    ADDRESS_TAKEN "MG6004" Error "another workload listens on the address"
    BAD_BIND "MG6005" Error "the bind address cannot be used"
    GATEWAY_FIELD_NO_EFFECT "MG6006" Info "the field of a Gateway has no effect"
    TARGET_PORT_UNKNOWN "MG6007" Warning "the named target port of the gateway's Service is not known"
    BAD_SERVER_HOST "MG6008" Error "the host of a server cannot be used"
    BAD_SERVER_PORT "MG6009" Error "the port of a server cannot be used"
    DUPLICATE_NAME "MG6010" Error "an older server has the host on this port"
    CREDENTIAL_MISSING "MG6011" Error "the certificate or CA certificate is missing"
    CREDENTIAL_BROKEN "MG6012" Error "the certificate, key or CA certificate cannot be used"
    NO_AUTHORITY "MG6013" Error "there is no CA certificate to verify clients with"
    BAD_PIN "MG6014" Error "the pin of a certificate or public key is not a SHA-256 digest"
    TLS_PARAMETER "MG6015" Warning "the TLS version, cipher suite or curve is not supported"
    NO_ROUTE_OF_BYTES "MG6016" Error "no rule reaches the server, so that its port stays closed"
    NAME_TAKEN "MG6017" Warning "another rule has the name on this port"
    CERTIFICATE_NAMES "MG6018" Warning "the certificate is not valid for the server's hosts"
    MESH_CERTIFICATE "MG6019" Error "ISTIO_MUTUAL needs a mesh certificate, so that the server rejects every client"
    CREDENTIAL_ODD "MG6020" Warning "the certificate is used, and clients may not accept it"
    CLIENT_DEMANDS "MG6021" Error "the requirements for client certificates contradict other settings, and are enforced"
    NO_TLS_PARAMETER "MG6022" Error "none of the configured cipher suites or curves is supported"
    STAPLE "MG6023" Warning "the OCSP response of the certificate cannot be used, and is not sent"
    REVOCATION_GAP "MG6024" Error "an authority has no list of revoked certificates, so that its certificates are rejected"
    ORIGINAL_DESTINATION "MG6025" Error "where the destination of connections is learned is not clear, so that the port stays closed"

    MESH_ONLY "MG7001" Info "the VirtualService names no gateway and belongs to sidecars"
    UNKNOWN_GATEWAY "MG7002" Error "the named Gateway does not exist"
    GATEWAY_ELSEWHERE "MG7003" Info "the named Gateway is for another workload"
    GATEWAY_CLOSED "MG7004" Warning "the named Gateway opens no port that is served"
    NOT_EXPORTED "MG7005" Warning "the VirtualService is not exported to the gateway's namespace"
    NO_OVERLAP "MG7006" Warning "no host of the VirtualService overlaps with a host of the Gateway"
    NAMESPACE_REFUSED "MG7007" Warning "the Gateway's hosts are not for the VirtualService's namespace"
    NO_RULE_LEFT "MG7008" Warning "every rule is for another gateway, port or client"
    FIELD_NO_EFFECT "MG7010" Info "the field of a VirtualService has no meaning at a gateway"
    BAD_HEADER "MG7011" Warning "the header cannot be written and is left out"
    BAD_MATCH "MG7012" Error "the condition cannot be evaluated, and never matches"
    BAD_REWRITE "MG7013" Error "the rewrite or redirect cannot be applied"
    NO_ACTION "MG7014" Error "the rule has no action"
    DELEGATE_SKIPPED "MG7015" Error "the delegate does not exist, and the rule is left out"
    BAD_HOST "MG7016" Error "the host of a VirtualService cannot be used"
    HOST_UNBOUND "MG7017" Warning "the host is in no server of the named Gateways"
    SNI_CLAMPED "MG7018" Warning "the name goes beyond the hosts of the server"
    DELEGATE_CONFLICT "MG7019" Error "a rule of the delegate lies outside the conditions of the rule that delegates"
    DELEGATE_UNUSED "MG7020" Warning "no other VirtualService delegates to the one without hosts"
    CORS_OPEN "MG7021" Warning "every origin may use answers with the cookies of its visitors"
    TUNNEL_UNUSED "MG7022" Warning "the tunnel of a destination is not used by a rule with several"
    CLAIMS_UNVERIFIED "MG7023" Error "the condition is on token claims, and no RequestAuthentication verifies tokens for the workload"
    FIRST_HOP "MG7024" Info "sidecars send by the VirtualService to this gateway"
    FIRST_HOP_UNSERVED "MG7025" Warning "sidecars send a host to this gateway that none of its servers has"

    UNKNOWN_HOST "MG8001" Error "no Service or ServiceEntry has the destination's host"
    HIDDEN_HOST "MG8002" Error "the destination's host is not exported to the gateway's namespace"
    UNKNOWN_PORT "MG8003" Error "the destination's host has no such port"
    UNKNOWN_SUBSET "MG8004" Error "no DestinationRule that acts here has the subset"
    PORT_NOT_SAID "MG8005" Warning "the destination has several ports and the route names none"
    BY_DNS "MG8006" Info "the Service has no EndpointSlice and is resolved by DNS"
    NO_ENDPOINTS "MG8007" Warning "there are no endpoints"
    NEVER_RESOLVED "MG8008" Warning "the resolution has no meaning at a gateway"
    POLICY_NO_EFFECT "MG8009" Info "the field of a DestinationRule has no effect"
    BAD_ENDPOINT "MG8010" Warning "the endpoint's address or port cannot be used and is left out"
    SUBSET_SHADOWED "MG8011" Warning "an older DestinationRule defines the subset"
    LOCALITY_UNKNOWN "MG8014" Info "the gateway's own locality is not known, so that endpoints near it are not preferred"
    ALLOWED_ADDRESS "MG8015" Warning "the annotation of a ServiceEntry has text that is no address or range"
    NO_MESH_CERTIFICATE "MG8020" Error "ISTIO_MUTUAL needs a mesh certificate, so that requests get 503"
    RULE_INVALID "MG8021" Error "the DestinationRule has errors and no version before it, so that requests to its host get 503"
    REQUEST_CREDENTIAL "MG8022" Error "the credential that a DestinationRule names cannot be used, so that requests get 503"
    CREDENTIAL_EXPOSED "MG8023" Warning "the credential of a destination is sent in clear text, or to an endpoint that is not verified"
    PINS_WITHOUT_TLS "MG8024" Error "public keys are demanded of endpoints without TLS, so that requests get 503"
    EMPTY_SUBSET "MG8050" Error "the subset of a DestinationRule matches no endpoint"
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn codes_are_unique_and_in_order() {
        assert!(ALL.windows(2).all(|pair| pair[0].id < pair[1].id));
    }
}
