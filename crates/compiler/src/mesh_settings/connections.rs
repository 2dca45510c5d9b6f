//! Limits of connections, and what is made of paths: `connectionSettings` with its profile, over what the mesh says elsewhere (PC-04, MC-02).

use crate::settings::Settings;
use ir::{EscapedSlashes, PathNormalization, Underscores};
use resources::spec::mesh_config::{
    ConnectionProfile, ConnectionSettings, EscapedSlashesAction, Normalization, UnderscoresAction,
};
use resources::spec::scalar;
use std::time::Duration;

/// The bounds of windows (RFC 9113 §6.9).
const WINDOW: (u32, u32) = (65_535, i32::MAX as u32);
/// What the profile has where nothing is written.
const HOUR: Duration = Duration::from_secs(3600);
const FIVE_MINUTES: Duration = Duration::from_secs(300);
const MINUTE: Duration = Duration::from_secs(60);

/// What is written, and whether the profile stands in for what is not.
fn written(settings: &Settings) -> (Option<&ConnectionSettings>, bool) {
    let written = settings.mesh.default_config.connection_settings.as_deref();
    (written, written.is_some_and(|written| written.profile == Some(ConnectionProfile::Edge)))
}

/// Works the limits out. Metadata stands in for what is not written; the profile for what neither says.
pub(super) fn compile(settings: &Settings) -> ir::ConnectionSettings {
    let (written, is_edge) = written(settings);
    let by_profile = |value: Duration| is_edge.then_some(value);
    let time =
        |of: fn(&ConnectionSettings) -> Option<scalar::Duration>| written.and_then(of).and_then(|time| time.get());
    let count =
        |of: fn(&ConnectionSettings) -> Option<i32>| written.and_then(of).and_then(|count| u32::try_from(count).ok());
    let window = |size: Option<u32>| size.map(|size| size.clamp(WINDOW.0, WINDOW.1));
    let idle_by_metadata =
        || settings.metadata("ISTIO_META_IDLE_TIMEOUT").and_then(|text| scalar::Duration::parse(text)?.get());
    let most_by_metadata = || settings.metadata("ISTIO_META_GLOBAL_DOWNSTREAM_MAX_CONNECTIONS")?.parse().ok();
    ir::ConnectionSettings {
        most: count(|of| of.global_downstream_connection_limit).map(u64::from).or_else(most_by_metadata),
        idle_timeout: time(|of| of.http_idle_timeout).or_else(idle_by_metadata).or(by_profile(HOUR)),
        max_age: time(|of| of.http_max_connection_duration),
        headers_timeout: time(|of| of.http_request_headers_timeout).or(by_profile(MINUTE)),
        request_timeout: time(|of| of.http_request_timeout).or(by_profile(FIVE_MINUTES)),
        stream_idle_timeout: time(|of| of.http_stream_idle_timeout).or(by_profile(FIVE_MINUTES)),
        max_stream_duration: time(|of| of.http_max_stream_duration),
        streams: count(|of| of.http_max_concurrent_streams).or(is_edge.then_some(100)),
        stream_window: window(count(|of| of.http2_initial_stream_window_size).or(is_edge.then_some(64 << 10))),
        connection_window: window(count(|of| of.http2_initial_connection_window_size).or(is_edge.then_some(1 << 20))),
        underscores: match written.and_then(|written| written.http_headers_with_underscores_action) {
            Some(UnderscoresAction::Allow) => Underscores::Allow,
            Some(UnderscoresAction::RejectRequest) => Underscores::Reject,
            Some(UnderscoresAction::DropHeader) => Underscores::Drop,
            None | Some(UnderscoresAction::Unspecified) if is_edge => Underscores::Reject,
            None | Some(UnderscoresAction::Unspecified) => Underscores::Allow,
        },
    }
}

/// How paths are normalised, and what becomes of those with escaped slashes.
pub(crate) fn paths(settings: &Settings) -> (PathNormalization, EscapedSlashes) {
    let (written, is_edge) = written(settings);
    let (normalise, merge, escaped) = match settings.mesh.path_normalization.normalization {
        None | Some(Normalization::Default | Normalization::Base) => (true, false, EscapedSlashesAction::KeepUnchanged),
        Some(Normalization::None) => (false, false, EscapedSlashesAction::KeepUnchanged),
        Some(Normalization::MergeSlashes) => (true, true, EscapedSlashesAction::KeepUnchanged),
        Some(Normalization::DecodeAndMergeSlashes) => (true, true, EscapedSlashesAction::UnescapeAndForward),
    };
    let merge = written.and_then(|written| written.http_merge_slashes).unwrap_or(merge || is_edge);
    let action = written.and_then(|written| written.http_path_with_escaped_slashes_action);
    let escaped = match action.filter(|action| *action != EscapedSlashesAction::Unspecified) {
        Some(action) => action,
        None if is_edge => EscapedSlashesAction::UnescapeAndRedirect,
        None => escaped,
    };
    let decode =
        matches!(escaped, EscapedSlashesAction::UnescapeAndRedirect | EscapedSlashesAction::UnescapeAndForward);
    let path = match (normalise, merge, decode) {
        (false, false, false) => PathNormalization::None,
        (true, false, false) => PathNormalization::Base,
        (_, true, false) => PathNormalization::MergeSlashes,
        (_, true, true) => PathNormalization::DecodeAndMergeSlashes,
        (_, false, true) => PathNormalization::DecodeSlashes,
    };
    let slashes = match escaped {
        EscapedSlashesAction::RejectRequest => EscapedSlashes::Reject,
        EscapedSlashesAction::UnescapeAndRedirect => EscapedSlashes::Redirect,
        EscapedSlashesAction::UnescapeAndForward
        | EscapedSlashesAction::KeepUnchanged
        | EscapedSlashesAction::Unspecified => EscapedSlashes::Take,
    };
    (path, slashes)
}
