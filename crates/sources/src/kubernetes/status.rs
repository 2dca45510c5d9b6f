//! What the status of one of Istio's objects says, in Istio's own format (`IstioStatus`): the condition `Reconciled`, and a validation
//! message for each code. The condition names the gateway that it is of, and only that gateway changes it and the messages that come with it;
//! all other entries are kept as they are. Pure: who writes and when is in `writer`.

use foldhash::fast::FixedState;
use resources::diagnostic::Severity;
use serde_json::{Map, Value, json};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::num::NonZeroU64;

/// Istio's name of the condition.
const RECONCILED: &str = "Reconciled";
/// Codes of validation messages that begin with this are a gateway's; Istio's begin with `IST`.
const PREFIX: &str = "MG";

/// What the status of an object should say. What is served does not depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Status {
    /// Whether all of the object is served as it is.
    pub reconciled: bool,
    /// One word for why, as Kubernetes' conventions for conditions ask for.
    pub reason: &'static str,
    /// The same in words.
    pub message: String,
    /// What was found, sorted, each code once.
    pub messages: Vec<StatusMessage>,
    /// Whether it is written also where the object has no entry of this gateway yet.
    pub always: bool,
}

/// One of `validationMessages`. Istio's format has no text besides the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusMessage {
    /// The code, `MG` and four digits.
    pub code: &'static str,
    /// The name of the code, such as `ServerHosts`.
    pub name: String,
    /// How grave it is.
    pub severity: Severity,
    /// Where it is explained, where that is known.
    pub url: Option<String>,
}

/// What an object's status in the API server says, as far as it concerns this gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// The gateway's own entries; `None`: there are none.
    pub(super) own: Option<Own>,
    /// Whether the condition is of another gateway, or of Istio.
    pub(super) is_foreign: bool,
}

/// Fingerprints of a gateway's own entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Own {
    /// That of the condition, or that there is none.
    condition: NonZeroU64,
    messages: u64,
}

impl Own {
    /// Whether messages of these entries were taken away or changed, and the condition was left.
    pub(super) fn lost_messages(self, now: Self) -> bool {
        self.condition == now.condition && self.messages != now.messages
    }
}

impl Status {
    /// The same in the condition alone, whose message names what was found.
    pub(super) fn without_messages(&self) -> Self {
        Self { messages: Vec::new(), ..self.clone() }
    }
}

/// What the status of an object says at present. `owner` is the name of this gateway.
pub(super) fn seen(status: Option<&Value>, owner: &str) -> Seen {
    let Some(status) = status else { return Seen::default() };
    let condition = entries(status, "conditions").find(|one| is_reconciled(one));
    let is_own = condition.is_none_or(|one| is_of(one, owner));
    let messages: Vec<&Value> = entries(status, "validationMessages").filter(|one| is_ours(one)).collect();
    if !is_own {
        return Seen { own: None, is_foreign: true };
    }
    let observed = status.get("observedGeneration").filter(|_| condition.is_some());
    let is_empty = condition.is_none() && messages.is_empty();
    Seen { own: (!is_empty).then(|| fingerprint(condition, &messages, observed)), is_foreign: false }
}

/// The entries that [`merge`] makes.
pub(super) fn wanted(status: &Status, owner: &str, generation: i64) -> Own {
    let condition = condition(status, owner, generation);
    let messages: Vec<Value> = status.messages.iter().map(message).collect();
    fingerprint(Some(&condition), &messages.iter().collect::<Vec<_>>(), Some(&generation.into()))
}

/// What the entries of a gateway are written with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp<'a> {
    /// The name of the gateway.
    pub(super) owner: &'a str,
    /// The generation of the object that they are about.
    pub(super) generation: i64,
    /// The time, as RFC 3339 has it.
    pub(super) now: &'a str,
}

/// The status with this gateway's entries replaced by others, or taken away; `None` where nothing is different.
pub(super) fn merge(status: Option<&Value>, wanted: Option<&Status>, stamp: Stamp<'_>) -> Option<Value> {
    let Stamp { owner, generation, now } = stamp;
    let empty = Value::Null;
    let before = status.unwrap_or(&empty);
    let mut conditions: Vec<Value> = entries(before, "conditions").filter(|one| !is_reconciled(one)).cloned().collect();
    let mut messages: Vec<Value> = entries(before, "validationMessages").filter(|one| !is_ours(one)).cloned().collect();
    let mut patch = Map::new();
    if let Some(wanted) = wanted {
        let mut own = condition(wanted, owner, generation);
        let old = entries(before, "conditions").find(|one| is_reconciled(one));
        let since =
            old.filter(|old| old.get("status") == own.get("status")).and_then(|old| old.get("lastTransitionTime"));
        set(&mut own, "lastTransitionTime", since.cloned().unwrap_or_else(|| now.into()));
        conditions.push(own);
        messages.extend(wanted.messages.iter().map(message));
        patch.insert("observedGeneration".to_owned(), generation.into());
    } else {
        // Istio: "Resource Generation to which the Reconciled Condition refers."
        patch.insert("observedGeneration".to_owned(), Value::Null);
    }
    let list = |all: Vec<Value>| if all.is_empty() { Value::Null } else { Value::Array(all) };
    patch.insert("conditions".to_owned(), list(conditions));
    patch.insert("validationMessages".to_owned(), list(messages));
    patch.retain(|field, value| before.get(field).unwrap_or(&empty) != value);
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn condition(status: &Status, owner: &str, generation: i64) -> Value {
    json!({
        "type": RECONCILED,
        "status": if status.reconciled { "True" } else { "False" },
        "reason": status.reason,
        "message": format!("{owner}: {}", status.message),
        "observedGeneration": generation,
    })
}

fn message(one: &StatusMessage) -> Value {
    let level = match one.severity {
        Severity::Error => "ERROR",
        Severity::Warning => "WARNING",
        Severity::Info => "INFO",
    };
    let mut message = json!({"type": {"name": one.name, "code": one.code}, "level": level});
    if let Some(url) = &one.url {
        set(&mut message, "documentationUrl", url.as_str().into());
    }
    message
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(field.to_owned(), value);
    }
}

fn entries<'a>(status: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    status.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn is_reconciled(condition: &Value) -> bool {
    condition.get("type").and_then(Value::as_str) == Some(RECONCILED)
}

fn is_of(condition: &Value, owner: &str) -> bool {
    let message = condition.get("message").and_then(Value::as_str).unwrap_or_default();
    message.strip_prefix(owner).is_some_and(|rest| rest.starts_with(": "))
}

fn is_ours(message: &Value) -> bool {
    message.pointer("/type/code").and_then(Value::as_str).is_some_and(|code| code.starts_with(PREFIX))
}

fn fingerprint(condition: Option<&Value>, messages: &[&Value], observed: Option<&Value>) -> Own {
    let field = |value: &Value, path: &str| value.pointer(path).map(ToString::to_string);
    let mut hasher = FixedState::default().build_hasher();
    if let Some(condition) = condition {
        ["/status", "/reason", "/message", "/observedGeneration"].map(|path| field(condition, path)).hash(&mut hasher);
        observed.map(ToString::to_string).hash(&mut hasher);
    }
    let condition = NonZeroU64::MIN | hasher.finish();
    let mut hasher = FixedState::default().build_hasher();
    for message in messages {
        ["/type/name", "/type/code", "/level", "/documentationUrl"].map(|path| field(message, path)).hash(&mut hasher);
    }
    Own { condition, messages: hasher.finish() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "istio-system/istio-ingressgateway";

    fn status(reconciled: bool, codes: &[&'static str]) -> Status {
        let message = |code: &&'static str| StatusMessage {
            code,
            name: "Name".to_owned(),
            severity: Severity::Error,
            url: Some("docs".to_owned()),
        };
        let messages = codes.iter().map(message).collect();
        Status { reconciled, reason: "Reason", message: "text".to_owned(), messages, always: true }
    }

    fn stamp(generation: i64, now: &str) -> Stamp<'_> {
        Stamp { owner: OWNER, generation, now }
    }

    /// What a merge patch makes of a status.
    fn applied(before: &Value, patch: &Value) -> Value {
        let mut after = before.clone();
        for (field, value) in patch.as_object().unwrap() {
            match value {
                Value::Null => drop(after.as_object_mut().unwrap().remove(field)),
                value => set(&mut after, field, value.clone()),
            }
        }
        after
    }

    #[test]
    fn what_is_written_is_what_is_wanted_and_is_not_written_again() {
        for before in [Value::Null, json!({}), json!({"conditions": [], "validationMessages": []})] {
            let wanted_status = status(false, &["MG1001", "MG6001"]);
            let patch = merge(Some(&before), Some(&wanted_status), stamp(7, "t1")).unwrap();
            let after = applied(&json!({}), &patch);
            assert_eq!(seen(Some(&after), OWNER).own, Some(wanted(&wanted_status, OWNER, 7)));
            assert_eq!(merge(Some(&after), Some(&wanted_status), stamp(7, "t2")), None);
            assert_ne!(seen(Some(&after), OWNER).own, Some(wanted(&wanted_status, OWNER, 8)));
            assert_ne!(seen(Some(&after), OWNER).own, Some(wanted(&status(true, &[]), OWNER, 7)));
        }
    }

    #[test]
    fn entries_of_others_are_kept_and_transitions_are_those_of_the_status() {
        let others = json!({
            "address": "kept",
            "conditions": [{"type": "istio.io/WaypointBound", "status": "True"}],
            "validationMessages": [{"type": {"name": "Other", "code": "IST0101"}, "level": "ERROR"}],
        });
        let patch = merge(Some(&others), Some(&status(false, &["MG1001"])), stamp(1, "t1")).unwrap();
        let first = applied(&others, &patch);
        assert_eq!(first["conditions"].as_array().unwrap().len(), 2);
        assert_eq!(first["conditions"][0], others["conditions"][0]);
        assert_eq!(first["validationMessages"][0], others["validationMessages"][0]);
        let transition = |value: &Value| value["conditions"][1]["lastTransitionTime"].clone();
        assert_eq!(transition(&first), "t1");
        let patch = merge(Some(&first), Some(&status(false, &[])), stamp(2, "t2")).unwrap();
        let second = applied(&first, &patch);
        assert_eq!(
            (transition(&second), second["validationMessages"].clone()),
            (json!("t1"), others["validationMessages"].clone())
        );
        let third = applied(&second, &merge(Some(&second), Some(&status(true, &[])), stamp(2, "t3")).unwrap());
        assert_eq!(transition(&third), "t3");
        // Taken away, nothing but the entries of others is left.
        let patch = merge(Some(&third), None, stamp(2, "t4")).unwrap();
        assert_eq!(applied(&third, &patch), others);
        assert_eq!(seen(Some(&others), OWNER), Seen::default());
        assert_eq!(merge(Some(&others), None, stamp(2, "t4")), None);
    }

    #[test]
    fn a_condition_of_another_gateway_or_of_istio_is_foreign() {
        let with =
            |message: &str| json!({"conditions": [{"type": "Reconciled", "status": "True", "message": message}]});
        let foreign = |message: &str| seen(Some(&with(message)), OWNER).is_foreign;
        assert!(foreign("1/1 proxies up to date.") && foreign("istio-system/istio-egressgateway: served"));
        assert!(foreign("istio-system/istio-ingressgateway-2: served") && foreign(""));
        assert!(!foreign("istio-system/istio-ingressgateway: served") && !seen(None, OWNER).is_foreign);
    }
}
