//! Whether a new version of a server would reject clients that the previous one accepted. `conn` uses it to drain their connections.

use ir::{ClientAuth, Termination, TlsParameters, Trust};
use std::sync::Arc;

/// Whether `now` would reject some client that `before` accepted. `None` is TLS passthrough, which the gateway does not terminate.
pub(crate) fn is_stricter(before: Option<&Termination>, now: Option<&Termination>) -> bool {
    match (before, now) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(before), Some(now)) => {
            of_clients(&before.client, &now.client) || of_parameters(&before.parameters, &now.parameters)
        }
    }
}

fn of_clients(before: &ClientAuth, now: &ClientAuth) -> bool {
    match (before, now) {
        (_, ClientAuth::None | ClientAuth::Unverified) => false,
        (ClientAuth::None | ClientAuth::Unverified, ClientAuth::Optional(_) | ClientAuth::Required(_)) => true,
        (ClientAuth::Optional(_), ClientAuth::Required(_)) => true,
        (ClientAuth::Optional(before) | ClientAuth::Required(before), ClientAuth::Optional(now))
        | (ClientAuth::Required(before), ClientAuth::Required(now)) => of_trust(before, now),
    }
}

fn of_trust(before: &Arc<Trust>, now: &Arc<Trust>) -> bool {
    let pins = |trust: &Trust| [trust.key_pins.clone(), trust.certificate_pins.clone()].concat();
    // One matching authority, name or pin is enough; empty lists of names and pins demand nothing.
    before != now
        && (lacks_some_of(&now.authorities, &before.authorities)
            || demands_more(&before.names, &now.names)
            || demands_more(&pins(before), &pins(now))
            || lacks_some_of(&before.revoked, &now.revoked))
}

/// For lists where empty demands nothing.
fn demands_more<T: PartialEq>(before: &[T], now: &[T]) -> bool {
    !now.is_empty() && (before.is_empty() || lacks_some_of(now, before))
}

fn lacks_some_of<T: PartialEq>(list: &[T], wanted: &[T]) -> bool {
    wanted.iter().any(|one| !list.contains(one))
}

/// For lists where empty is the default.
fn of_parameters(before: &TlsParameters, now: &TlsParameters) -> bool {
    now.lowest > before.lowest
        || now.highest < before.highest
        || demands_more(&before.suites, &now.suites)
        || demands_more(&before.groups, &now.groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::{Alpn, Credential, Der, StringMatch, TlsVersion};

    fn trust(authorities: &[u8], names: &[&str], pins: &[u8], revoked: &[u8]) -> Arc<Trust> {
        let ders = |bytes: &[u8]| bytes.iter().map(|byte| Der(Arc::from([*byte]))).collect();
        Arc::new(Trust {
            authorities: ders(authorities),
            revoked: ders(revoked),
            names: names.iter().map(|name| StringMatch::Exact((*name).into())).collect(),
            key_pins: pins.iter().map(|pin| [*pin; 32]).collect(),
            certificate_pins: Vec::new(),
        })
    }

    fn termination(client: ClientAuth, parameters: TlsParameters) -> Termination {
        Termination { credential: Credential::Missing("none".into()), client, parameters, alpn: vec![Alpn::H2] }
    }

    fn clients(before: ClientAuth, now: ClientAuth) -> bool {
        let of = |client| termination(client, TlsParameters::default());
        is_stricter(Some(&of(before)), Some(&of(now)))
    }

    #[test]
    fn modes_are_stricter_the_more_they_demand() {
        let any = || trust(&[1], &[], &[], &[]);
        let modes =
            || [ClientAuth::None, ClientAuth::Unverified, ClientAuth::Optional(any()), ClientAuth::Required(any())];
        let found = modes().map(|before| modes().map(|now| clients(before.clone(), now)));
        assert_eq!(found[0], [false, false, true, true]);
        assert_eq!(found[1], [false, false, true, true]);
        assert_eq!(found[2], [false, false, false, true]);
        assert_eq!(found[3], [false, false, false, false]);
    }

    #[test]
    fn trust_is_stricter_where_it_shrinks() {
        let required =
            |before: Arc<Trust>, now: Arc<Trust>| clients(ClientAuth::Required(before), ClientAuth::Required(now));
        let two = trust(&[1, 2], &["a", "b"], &[1, 2], &[1]);
        assert!(!required(two.clone(), two.clone()));
        for (now, stricter) in [
            (trust(&[1, 2, 3], &["b", "a", "c"], &[1, 2, 3], &[1]), false),
            (trust(&[1, 2], &[], &[], &[]), false),
            (trust(&[1], &["a", "b"], &[1, 2], &[1]), true),
            (trust(&[], &["a", "b"], &[1, 2], &[1]), true),
            (trust(&[1, 2], &["a"], &[1, 2], &[1]), true),
            (trust(&[1, 2], &["a", "b"], &[1], &[1]), true),
            (trust(&[1, 2], &["a", "b"], &[1, 2], &[1, 2]), true),
        ] {
            assert_eq!(required(two.clone(), now.clone()), stricter, "{now:?}");
        }
        assert!(required(trust(&[1], &[], &[], &[]), trust(&[1], &["a"], &[], &[])));
        assert!(required(trust(&[1], &[], &[], &[]), trust(&[1], &[], &[1], &[])));
    }

    #[test]
    fn parameters_are_stricter_where_they_allow_less() {
        let parameters = |now: TlsParameters| {
            is_stricter(
                Some(&termination(ClientAuth::None, TlsParameters::default())),
                Some(&termination(ClientAuth::None, now)),
            )
        };
        let usual = TlsParameters::default;
        assert!(!parameters(usual()));
        assert!(parameters(TlsParameters { lowest: TlsVersion::V1_3, ..usual() }));
        assert!(parameters(TlsParameters { highest: TlsVersion::V1_2, ..usual() }));
        assert!(parameters(TlsParameters { groups: vec!["P-256".into()], ..usual() }));
        assert!(is_stricter(Some(&termination(ClientAuth::None, usual())), None));
    }
}
