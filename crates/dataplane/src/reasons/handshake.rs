//! Why a connection of a client ended in its TLS handshake: one table of causes, for the access log and for
//! `moongate_tls_handshake_failures`. The words are those of the alerts of RFC 8446 §6 where there is one.

use super::flags::Flags;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};
use std::io;

macro_rules! causes {
    ($($name:ident $label:literal $flags:expr, $meaning:literal)*) => {
        /// A cause.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum HandshakeFailure {
            $(#[doc = $meaning] $name),*
        }

        impl HandshakeFailure {
            /// All of them, by number, and what they mean.
            pub(crate) const ALL: &[(Self, &str)] = &[$((Self::$name, $meaning)),*];

            /// What metrics call it.
            pub(crate) fn label(self) -> &'static str {
                match self { $(Self::$name => $label),* }
            }

            /// The detail in the access log.
            pub(crate) fn detail(self) -> &'static str {
                match self {
                    // As Envoy has it, which writes lines of these alone.
                    Self::NoMatchingServer | Self::ClearText => "filter_chain_not_found",
                    $(#[allow(unreachable_patterns, reason = "some are above")]
                    Self::$name => concat!("tls_handshake_failed{", $label, "}")),*
                }
            }

            /// Whether no server takes the connection; other causes are failures.
            pub(crate) fn is_denial(self) -> bool {
                matches!(self, Self::NoMatchingServer | Self::ClearText)
            }

            /// The flags in the access log.
            pub(crate) fn flags(self) -> Flags {
                match self { $(Self::$name => $flags),* }
            }
        }
    };
}

causes! {
    NoMatchingServer "no_matching_server" Flags::NR, "no server has the name that the client asked for"
    ClearText "clear_text" Flags::NR, "the client speaks clear text, and no server of the port does"
    NoCertificate "no_certificate" Flags::NONE, "the server has no certificate that can be used"
    MalformedClientHello "malformed_client_hello" Flags::DPE, "the first message is not one of TLS, or too long"
    ClientHelloTimeout "client_hello_timeout" Flags::DT, "the ClientHello did not come in time"
    HandshakeTimeout "handshake_timeout" Flags::DT, "the handshake did not end in time"
    ProtocolVersion "protocol_version" Flags::DPE, "client and server have no version of TLS in common"
    NoSharedCipher "no_shared_cipher" Flags::DPE, "client and server have no cipher suite, group or signature scheme in common"
    NoSharedProtocol "no_application_protocol" Flags::DPE, "client and server have no protocol (ALPN) in common"
    ClientCertificateRequired "client_certificate_required" Flags::DPE, "the client showed no certificate"
    UnknownCa "unknown_ca" Flags::DPE, "no trusted authority signed the client's certificate"
    ClientCertificateExpired "client_certificate_expired" Flags::DPE, "the client's certificate has expired or is not valid yet"
    ClientCertificateRevoked "client_certificate_revoked" Flags::DPE, "the client's certificate is revoked, or its state is not known"
    BadClientCertificate "bad_client_certificate" Flags::DPE, "the client's certificate is malformed, or not one that the server accepts"
    RejectedByClient "certificate_rejected_by_client" Flags::DC, "the client rejected the server's certificate"
    ClientAlert "client_alert" Flags::DC, "the client ended the handshake with another alert"
    ClosedByClient "closed_by_client" Flags::DC, "the client closed the connection"
    ProtocolError "protocol_error" Flags::DPE, "the client broke the protocol of TLS"
    TooManyOfAddress "address_limit" Flags::OM, "the client's address has as many handshakes under way as it may have"
    Evicted "evicted" Flags::OM, "the connection was closed to make room for new ones"
    NotRedirected "not_redirected" Flags::NR, "the connection was not redirected, so that its destination is the gateway"
    NotAName "not_a_name" Flags::DPE, "the server name of a client that does not know of the gateway is not a name, or another address"
}

impl HandshakeFailure {
    /// The cause of what the library reports.
    pub(crate) fn of(error: &io::Error) -> Self {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return Self::ClosedByClient;
        };
        match error {
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::PeerIncompatible(missing) => Self::of_missing(missing),
            Error::NoCertificatesPresented => Self::ClientCertificateRequired,
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::InvalidCertRevocationList(_) => Self::ClientCertificateRevoked,
            Error::NoApplicationProtocol => Self::NoSharedProtocol,
            // The resolver of certificates has none; the library has no other error of its own kind in a server's handshake.
            Error::General(_) => Self::NoCertificate,
            _ => Self::ProtocolError,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => Self::RejectedByClient,
            AlertDescription::CloseNotify | AlertDescription::UserCanceled => Self::ClosedByClient,
            _ => Self::ClientAlert,
        }
    }

    fn of_missing(missing: &PeerIncompatible) -> Self {
        match missing {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => Self::ProtocolVersion,
            _ => Self::NoSharedCipher,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            // An authority that has the name of a trusted one and another key is not that one.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownCa,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::ClientCertificateExpired,
            CertificateError::Revoked
            | CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => Self::ClientCertificateRevoked,
            _ => Self::BadClientCertificate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the documents is the one here.
    #[test]
    fn every_cause_is_explained_in_the_documents() {
        let page = include_str!("../../../../docs/flags.md");
        for (cause, meaning) in HandshakeFailure::ALL {
            let row = format!("| `{}` | `{}` | `{}` | {meaning} |", cause.flags(), cause.detail(), cause.label());
            assert!(page.contains(&row), "docs/flags.md lacks {row}");
        }
    }

    #[test]
    fn causes_have_the_numbers_of_their_places() {
        for (at, (cause, _)) in HandshakeFailure::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, at);
        }
    }
}
