//! Versions, suites and groups of TLS by the names that Istio's API has for them (GW-16 to GW-18).

use ir::{TlsParameters, TlsVersion};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite, SupportedProtocolVersion, version};
use std::sync::{Arc, LazyLock};

static DEFAULT: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The suites and groups that may be used. What is not known is left out; where nothing is left, the defaults stay.
pub fn provider(parameters: &TlsParameters) -> Arc<CryptoProvider> {
    if parameters.suites.is_empty() && parameters.groups.is_empty() {
        return Arc::clone(&DEFAULT);
    }
    let mut provider = CryptoProvider::clone(&DEFAULT);
    let suites: Vec<SupportedCipherSuite> = parameters.suites.iter().filter_map(|name| suite(name)).collect();
    if !suites.is_empty() {
        // The list says nothing of TLS 1.3.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        provider.cipher_suites.extend(suites);
    }
    let groups: Vec<&'static dyn SupportedKxGroup> = parameters.groups.iter().filter_map(|name| group(name)).collect();
    if !groups.is_empty() {
        provider.kx_groups = groups;
    }
    Arc::new(provider)
}

/// The versions that may be used.
pub fn versions(parameters: &TlsParameters) -> Vec<&'static SupportedProtocolVersion> {
    let allowed = parameters.lowest..=parameters.highest;
    let known = [(TlsVersion::V1_3, &version::TLS13), (TlsVersion::V1_2, &version::TLS12)];
    known.into_iter().filter(|(version, _)| allowed.contains(version)).map(|(_, known)| known).collect()
}

fn suite(name: &str) -> Option<SupportedCipherSuite> {
    let suite = match name {
        "ECDHE-ECDSA-AES128-GCM-SHA256" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES256-GCM-SHA384" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-CHACHA20-POLY1305" => CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305" => CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        _ => return None,
    };
    DEFAULT.cipher_suites.iter().find(|known| known.suite() == suite).copied()
}

fn group(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    let group = match name {
        "X25519MLKEM768" => NamedGroup::X25519MLKEM768,
        "X25519" => NamedGroup::X25519,
        "P-256" => NamedGroup::secp256r1,
        "P-384" => NamedGroup::secp384r1,
        _ => return None,
    };
    aws_lc_rs::ALL_KX_GROUPS.iter().find(|known| known.name() == group).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_17_suites_are_for_tls_1_2_alone_and_in_their_order() {
        let names = ["ECDHE-RSA-AES256-GCM-SHA384", "AES128-SHA", "ECDHE-RSA-AES128-GCM-SHA256"];
        let parameters =
            TlsParameters { suites: names.iter().map(|name| (*name).into()).collect(), ..TlsParameters::default() };
        let provider = provider(&parameters);
        let old: Vec<_> = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_none()).collect();
        let suites: Vec<_> = old.iter().map(|suite| suite.suite()).collect();
        assert_eq!(
            suites,
            [CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
        );
        assert_eq!(provider.cipher_suites.len(), 5);
    }

    #[test]
    fn gw_18_groups_are_those_named_and_by_default_begin_with_the_hybrid() {
        let parameters = TlsParameters { groups: vec!["P-256".into()], ..TlsParameters::default() };
        let names = |parameters| provider(parameters).kx_groups.iter().map(|group| group.name()).collect::<Vec<_>>();
        assert_eq!(names(&parameters), [NamedGroup::secp256r1]);
        assert_eq!(names(&TlsParameters::default()).first(), Some(&NamedGroup::X25519MLKEM768));
    }

    #[test]
    fn gw_16_versions_lie_between_the_two() {
        let only = TlsParameters { lowest: TlsVersion::V1_3, ..TlsParameters::default() };
        assert_eq!(versions(&only), [&version::TLS13]);
        assert_eq!(versions(&TlsParameters::default()).len(), 2);
    }
}
