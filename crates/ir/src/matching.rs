//! What a route demands of a request: the compiled form of one `match` entry (VS-11).

use crate::Pattern;
use serde::Serialize;
use std::ops::Deref;
use std::sync::Arc;
use text::HeaderName;

/// A demand on one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum StringMatch {
    /// The very text.
    Exact(Arc<str>),
    /// A plain prefix of it, not aware of segments (VS-12).
    Prefix(Arc<str>),
    /// A regular expression that matches the whole of it.
    Regex(Pattern),
}

impl StringMatch {
    /// Whether a value is as demanded.
    pub fn is_match(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Regex(pattern) => pattern.is_match(value),
        }
    }
}

/// A demand on the normalised path, without its query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum MatchPath {
    /// Every path.
    Any,
    /// A demand, where `ignore_case` holds for exact and prefix alone (VS-13).
    Text {
        /// What the path has to be.
        text: StringMatch,
        /// Compare ASCII letters without their case.
        ignore_case: bool,
    },
}

/// A demand on a header's or query parameter's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ValueMatch {
    /// It has to be there, whatever its value (VS-15, VS-17).
    Present,
    /// Its value has to match.
    Text(StringMatch),
}

/// A demand on one header. Each value of a repeated header is judged by itself, as Envoy 1.40 does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderMatch {
    /// The header's name.
    pub name: HeaderName,
    /// What it has to be.
    pub value: ValueMatch,
    /// `withoutHeaders`: the demand is turned round, and an absent header meets it (VS-16).
    pub invert: bool,
}

impl HeaderMatch {
    /// Whether a request whose header of this name has these values, one for each line, is as demanded.
    ///
    /// One value that matches is enough (VS-15); with `invert` none may match, and an absent header is judged as an empty one (VS-16).
    /// Every policy that looks at headers asks this, so that no value beside another hides it.
    pub fn is_met<'v>(&self, mut values: impl Iterator<Item = &'v [u8]>) -> bool {
        let found = match &self.value {
            ValueMatch::Present => values.next().is_some(),
            ValueMatch::Text(demand) => match values.next() {
                Some(first) => demand.is_match(first) || values.any(|value| demand.is_match(value)),
                None => self.invert && demand.is_match(b""),
            },
        };
        found != self.invert
    }
}

/// A demand on one claim of the verified token (VS-22).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClaimMatch {
    /// The names of the claim, from the outermost.
    pub path: Vec<Arc<str>>,
    /// What the claim, or one element of its list, has to be.
    pub value: ValueMatch,
    /// `withoutHeaders`: the demand is turned round, and an absent claim meets it.
    pub invert: bool,
}

impl ClaimMatch {
    /// Whether a token whose claim has these texts is as demanded. Without a token there are none.
    pub fn is_met<'v>(&self, mut texts: impl Iterator<Item = &'v str>) -> bool {
        let found = texts.any(|text| match &self.value {
            ValueMatch::Present => true,
            ValueMatch::Text(demand) => demand.is_match(text.as_bytes()),
        });
        found != self.invert
    }
}

/// A demand on one query parameter (VS-17).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueryMatch {
    /// The parameter's name, undecoded as in the URL.
    pub name: Arc<str>,
    /// What its first value has to be.
    pub value: ValueMatch,
}

/// All demands of one route; every one has to be met. The default demands nothing. Those besides the path are read as if
/// they were fields: they stand behind a pointer, since there are very many routes and few demand more than a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteMatch {
    /// On the path.
    pub path: MatchPath,
    #[serde(flatten)]
    others: Option<Box<Demands>>,
}

/// Demands besides that on the path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Demands {
    /// On `:method`.
    pub method: Option<StringMatch>,
    /// On `:authority`, as the client sent it: case and port count (VS-14).
    pub authority: Option<StringMatch>,
    /// On `:scheme`.
    pub scheme: Option<StringMatch>,
    /// On headers, sorted by name.
    pub headers: Vec<HeaderMatch>,
    /// On query parameters, sorted by name.
    pub query: Vec<QueryMatch>,
    /// On claims of the verified token.
    pub claims: Vec<ClaimMatch>,
}

static NO_DEMANDS: Demands =
    Demands { method: None, authority: None, scheme: None, headers: Vec::new(), query: Vec::new(), claims: Vec::new() };

impl Default for RouteMatch {
    fn default() -> Self {
        Self { path: MatchPath::Any, others: None }
    }
}

impl Deref for RouteMatch {
    type Target = Demands;

    fn deref(&self) -> &Demands {
        self.others.as_deref().unwrap_or(&NO_DEMANDS)
    }
}

impl RouteMatch {
    /// A demand on the path and others.
    pub fn new(path: MatchPath, others: Demands) -> Self {
        Self { path, others: (others != NO_DEMANDS).then(|| Box::new(others)) }
    }
}

impl RouteMatch {
    /// Whether S-62 moves this route to the end of its host: any path (`/` prefix or `.*` included, which the compiler
    /// leaves as they were written) and no condition on headers or query parameters.
    pub fn is_catch_all(&self) -> bool {
        let any_path = match &self.path {
            MatchPath::Any => true,
            MatchPath::Text { text: StringMatch::Prefix(prefix), .. } => &**prefix == "/",
            MatchPath::Text { text: StringMatch::Regex(pattern), .. } => matches!(pattern.as_str(), "*" | ".*"),
            MatchPath::Text { text: StringMatch::Exact(_), .. } => false,
        };
        // Envoy keeps method, authority and scheme as header matchers, so that they count as conditions here.
        any_path && self.others.is_none()
    }
}
