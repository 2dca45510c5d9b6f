//! `retries`: a route's own, the mesh's, or what everybody has (VS-40 to VS-42).

use ir::{Retries, RetryOn};
use resources::spec::mesh_config::MeshConfig;
use resources::spec::scalar::Duration as Written;
use resources::spec::virtual_service::HttpRetry;
use std::sync::{Arc, LazyLock};

/// One for all routes that say nothing, for there are many.
static DEFAULT: LazyLock<Arc<Retries>> = LazyLock::new(Arc::default);

/// The policy of a rule; `None` is no further attempt.
pub(super) fn compile(written: Option<&HttpRetry>, mesh: &MeshConfig) -> Option<Arc<Retries>> {
    match written.or(mesh.default_http_retry_policy.as_deref()) {
        None => Some(Arc::clone(&DEFAULT)),
        Some(written) => asked(written).map(Arc::new),
    }
}

fn asked(written: &HttpRetry) -> Option<Retries> {
    let attempts = u32::try_from(written.attempts).ok().filter(|attempts| *attempts > 0)?;
    let words = || written.retry_on.split(',').map(str::trim).filter(|word| !word.is_empty());
    let statuses = words().filter_map(|word| word.parse().ok()).collect();
    let on = words().filter_map(RetryOn::of_word).fold(RetryOn::NONE, RetryOn::and);
    let time = |time: Option<Written>| time.and_then(Written::get).filter(|time| !time.is_zero());
    Some(Retries {
        attempts,
        on: if written.retry_on.is_empty() { RetryOn::USUAL } else { on },
        statuses,
        per_try_timeout: time(written.per_try_timeout),
        backoff: time(written.backoff).unwrap_or(Retries::default().backoff),
        avoid_tried: written.retry_ignore_previous_hosts,
        remote_localities: written.retry_remote_localities == Some(true),
        implied: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(written: HttpRetry) -> Option<Retries> {
        compile(Some(&written), &MeshConfig::default()).map(|retries| (*retries).clone())
    }

    #[test]
    fn vs_40_the_default_is_istios() {
        let default = compile(None, &MeshConfig::default()).unwrap();
        assert_eq!(
            (default.attempts, default.backoff, default.implied),
            (2, std::time::Duration::from_millis(25), true)
        );
        assert_eq!(default.on.to_string(), "connect-failure,refused-stream,cancelled,unavailable");
        assert!(default.statuses.is_empty());
    }

    #[test]
    fn vs_41_a_policy_of_its_own_says_all_and_zero_is_off() {
        assert_eq!(retries(HttpRetry::default()), None);
        let own = HttpRetry { attempts: 3, retry_on: "5xx,409,reset".into(), ..HttpRetry::default() };
        let own = retries(own).unwrap();
        assert_eq!((own.attempts, own.on.to_string(), own.implied), (3, "5xx,reset".to_owned(), false));
        assert_eq!(&*own.statuses, [409]);
    }

    #[test]
    fn vs_42_the_meshs_policy_is_for_routes_without_one() {
        let policy = HttpRetry { attempts: 5, ..HttpRetry::default() };
        let mut mesh = MeshConfig::default();
        mesh.default_http_retry_policy = Some(Box::new(policy));
        assert_eq!(compile(None, &mesh).unwrap().attempts, 5);
        assert_eq!(compile(Some(&HttpRetry::default()), &mesh), None);
    }
}
