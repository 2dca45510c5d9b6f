//! What a route does with a request that it matches.

use crate::{ClusterId, HeaderChanges, Pattern, Retries, Share};
use serde::{Serialize, Serializer};
use std::sync::Arc;
use std::time::Duration;
use text::{Authority, PathText};

/// What a route does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Action {
    /// Sends the request on.
    Forward(Forward),
    /// Answers with a redirect (VS-35).
    Redirect(Box<Redirect>),
    /// Answers with fixed content (VS-36).
    Respond(DirectResponse),
}

/// Sends a request to one of some clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forward {
    /// At least one. Of several, each is selected in proportion to its weight (VS-33); no weight is zero.
    pub targets: Box<[Target]>,
    /// How the path is changed.
    pub rewrite: Option<Box<PathRewrite>>,
    /// The `Host` sent upstream instead of the client's (VS-38).
    pub authority: Option<Authority>,
    /// From the end of the request to the end of the response; `None` is unlimited (VS-39).
    pub timeout: Option<Duration>,
    /// The retry policy; `None` means no retries (VS-41).
    pub retries: Option<Arc<Retries>>,
    /// Who gets copies of requests (VS-45).
    pub mirrors: Box<[Mirror]>,
}

impl Forward {
    /// One that does nothing else to a request.
    pub fn to(targets: impl Into<Box<[Target]>>) -> Self {
        Self {
            targets: targets.into(),
            rewrite: None,
            authority: None,
            timeout: None,
            retries: None,
            mirrors: Box::default(),
        }
    }
}

/// A destination that receives copies of a share of the requests, and whose responses are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// Where they go.
    pub cluster: TargetCluster,
    /// Of how many requests; never of none.
    pub share: Share,
}

/// One destination of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Where it goes.
    pub cluster: TargetCluster,
    /// Its share among all targets of the route.
    pub weight: u32,
    /// Changes to the request that are made before the route's own (VS-34).
    pub request_headers: HeaderChanges,
    /// Changes to the response that are made before the route's own.
    pub response_headers: HeaderChanges,
    /// A `Host` of this destination alone; the route's wins over it (VS-38).
    pub authority: Option<Authority>,
}

impl Target {
    /// One that changes nothing of a request.
    pub fn plain(cluster: TargetCluster, weight: u32) -> Self {
        Self {
            cluster,
            weight,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            authority: None,
        }
    }
}

/// A destination that was found or was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum TargetCluster {
    /// A cluster of the snapshot.
    Known(ClusterId),
    /// No such host, port or subset: requests are answered 503 `NC` (VS-32, DR-06).
    Unknown {
        /// The name that the cluster would have had.
        id: ClusterId,
        /// Why it is unknown, as a sentence for people.
        reason: Arc<str>,
    },
}

/// A change of the path; the query stays (VS-37).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum PathRewrite {
    /// The part that the route's prefix matched is replaced; used with prefix matches alone.
    Prefix(PathText),
    /// The whole path is replaced.
    Full(PathText),
    /// Every match of the pattern is replaced by the text, in which `\1` is the first group.
    Regex {
        /// What is looked for; unlike in matches it may match a part.
        pattern: Pattern,
        /// What is put in its place.
        substitution: PathText,
    },
}

/// A redirect; absent parts stay as the client sent them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The scheme of the `Location`.
    pub scheme: Option<Scheme>,
    /// The host, and with it a port if it has one.
    pub authority: Option<Authority>,
    /// The port of the `Location`.
    pub port: RedirectPort,
    /// Only `Prefix` and `Full` occur.
    pub path: Option<PathRewrite>,
}

/// The scheme that a redirect names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// The scheme as a URI has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Serialize for Scheme {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The port that a redirect names (VS-35). `:80` with http and `:443` with https are left out of the `Location`. All but `Keep` replace a
/// port that the authority has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum RedirectPort {
    /// The one in the request's `Host`; when the scheme changes, that of the new scheme.
    Keep,
    /// This one.
    Number(u16),
    /// `derivePort: FROM_PROTOCOL_DEFAULT`: that of the scheme, so that none is written.
    ProtocolDefault,
    /// `derivePort: FROM_REQUEST_PORT`: the server's own port number.
    RequestPort(u16),
}

/// Fixed content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DirectResponse {
    /// 200 to 599.
    pub status: u16,
    /// The body; may be empty.
    #[serde(serialize_with = "as_text")]
    pub body: Arc<[u8]>,
}

fn as_text<S: Serializer>(body: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}
