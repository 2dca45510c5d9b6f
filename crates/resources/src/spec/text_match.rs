//! `StringMatch` and labels: the two shapes that several kinds share.

use super::pairs::Pairs;
use super::scalar::Text;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error as _};

/// A demand on a text; `Present` is the empty form, which asks for presence where the field allows it (VS-15, VS-17).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StringMatch {
    /// The very text.
    Exact(Text),
    /// What it begins with.
    Prefix(Text),
    /// What the whole of it has to match.
    Regex(Text),
    /// Nothing was demanded.
    Present,
}

/// As it is written.
impl Serialize for StringMatch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let field = match self {
            Self::Exact(text) => Some(("exact", text)),
            Self::Prefix(text) => Some(("prefix", text)),
            Self::Regex(text) => Some(("regex", text)),
            Self::Present => None,
        };
        serializer.collect_map(field)
    }
}

impl<'de> Deserialize<'de> for StringMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize, Default)]
        #[serde(deny_unknown_fields, default)]
        struct Raw {
            exact: Option<Text>,
            prefix: Option<Text>,
            regex: Option<Text>,
        }
        match Option::<Raw>::deserialize(deserializer)?.unwrap_or_default() {
            Raw { exact: Some(text), prefix: None, regex: None } => Ok(Self::Exact(text)),
            Raw { exact: None, prefix: Some(text), regex: None } => Ok(Self::Prefix(text)),
            Raw { exact: None, prefix: None, regex: Some(text) } => Ok(Self::Regex(text)),
            Raw { exact: None, prefix: None, regex: None } => Ok(Self::Present),
            _ => Err(D::Error::custom("only one of `exact`, `prefix` and `regex` may be set")),
        }
    }
}

/// Labels or annotations.
pub type Labels = Pairs<Text>;

/// Whether `labels` have everything that `selector` asks for.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// `{matchLabels: …}` or `{labels: …}`: which workloads an object is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkloadSelector {
    /// The labels that a workload has to have.
    #[serde(alias = "matchLabels", alias = "match_labels")]
    pub labels: Labels,
}
