//! Listings, page by page: a page is asked for as text and read object by object, so that it never takes the room of all its objects as
//! values, which is many times that of the text.

use super::access::{Cluster, with_causes};
use futures_util::io::{AsyncRead, AsyncReadExt as _};
use kube::core::Request;
use kube::core::params::ListParams;
use resources::api::ApiResource;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::pin::pin;
use std::{fmt, io};
use tokio::sync::OwnedSemaphorePermit;

/// Why a kind cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// The server denies it.
    Forbidden(String),
    /// The server cannot be asked.
    Unavailable(String),
}

/// Why a request failed.
pub(super) enum Failure {
    /// The version is too old, or not one that the server can continue from.
    Expired,
    /// There is no such kind.
    Missing,
    /// The answer has more octets than are kept of one. Fewer objects may be asked for: so many.
    TooLarge(PageSize),
    Problem(Problem),
}

/// What of the objects is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// Their metadata alone.
    Metadata,
}

/// Some objects of a listing, as the server wrote them.
pub(super) struct Page {
    text: String,
    resource: &'static ApiResource,
    version: &'static str,
    pub(super) resource_version: String,
    /// By which the next page is asked for.
    pub(super) next: Option<String>,
    /// Allows the page to wait.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for Page {
    /// The text may hold Secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("plural", &self.resource.plural).field("octets", &self.text.len()).finish()
    }
}

/// What a list says of itself.
#[derive(Deserialize)]
struct Head {
    metadata: HeadMetadata,
    /// Read as well, so that the text is known to be whole, and each object to have a name: an object that could not be read later would be taken
    /// for one that is gone. They have to be there, if only as null.
    #[serde(rename = "items", deserialize_with = "Option::deserialize")]
    items: Option<Vec<ItemHead>>,
}

/// What every object has.
#[derive(Deserialize)]
struct ItemHead {
    metadata: ItemMetadata,
}

#[derive(Deserialize)]
struct ItemMetadata {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    r#continue: String,
}

/// The objects of a kind, in one of its versions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Collection<'a> {
    pub(super) resource: &'static ApiResource,
    pub(super) version: &'static str,
    /// `None`: in all namespaces.
    pub(super) namespace: Option<&'a str>,
    pub(super) part: Part,
}

impl Collection<'_> {
    pub(super) fn path(&self) -> String {
        path(self.resource, self.version, self.namespace)
    }

    /// Asks for a page of so many objects, of those that `params` select.
    pub(super) async fn page(&self, cluster: &Cluster, params: &ListParams, size: PageSize) -> Result<Page, Failure> {
        let path = self.path();
        let params = &params.clone().limit(size.objects);
        let broken = |text: &str| Failure::Problem(Problem::Unavailable(format!("its answer to {path} {text}")));
        let request = match self.part {
            Part::Whole => Request::new(&*path).list(params),
            Part::Metadata => Request::new(&*path).list_metadata(params),
        };
        let request = request.map_err(|error| broken(&error.to_string()))?;
        // Not by `request`, which logs what it cannot read: Secrets are among it.
        let body = cluster.client.request_stream(request).await;
        let body = body.map_err(|error| of_listing(&error, params.continue_token.is_some()))?;
        let text = match read_within(body, size.octets()).await {
            Ok(Some(text)) => text,
            Ok(None) => {
                let for_one = || broken(&format!("has more than {} MiB for one object", size.octets() >> 20));
                return Err(size.smaller().map_or_else(for_one, Failure::TooLarge));
            }
            Err(error) => return Err(broken(&format!("cannot be read: {}", with_causes(&error)))),
        };
        let Ok(Head { metadata, items }) = serde_json::from_str::<Head>(&text) else {
            return Err(broken("is no list of objects with names"));
        };
        if items.is_some_and(|items| items.iter().any(|item| item.metadata.name.is_empty())) {
            return Err(broken("has an object without a name"));
        }
        let HeadMetadata { resource_version, r#continue } = metadata;
        if resource_version.is_empty() {
            return Err(broken("has no version"));
        }
        let next = (!r#continue.is_empty()).then_some(r#continue);
        let Self { resource, version, .. } = *self;
        Ok(Page { text, resource, version, resource_version, next, permit: None })
    }
}

impl Page {
    /// Calls `each` with one object after the other. After an error some of them are missing.
    pub(super) fn for_each(self, mut each: impl FnMut(Value)) -> Result<(), serde_json::Error> {
        let (resource, version) = (self.resource, self.version);
        let each = |object: &RawValue| each(complete(value_of(object), resource, version));
        List(each).deserialize(&mut serde_json::Deserializer::from_str(&self.text))
    }
}

/// Stands in place of what is nested too deeply to be read, so that the object is rejected for it, and nothing else is.
const TOO_DEEP: &str = "nested too deeply";

/// An object as a value. What in it cannot be read as one, such as a status that is nested too deeply, concerns no other object, and no other field.
fn value_of(object: &RawValue) -> Value {
    serde_json::from_str(object.get()).unwrap_or_else(|_| {
        by_field(object, |name, field| match name {
            // A name can be read, as the page was; managed fields are as deep as the object.
            "metadata" => Some(serde_json::from_str(field.get()).unwrap_or_else(|_| by_field(field, |_, _| None))),
            "status" => None,
            _ => Some(TOO_DEEP.into()),
        })
    })
}

/// The fields of an object, with `instead` of those that cannot be read.
fn by_field(object: &RawValue, instead: impl Fn(&str, &RawValue) -> Option<Value>) -> Value {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(object.get()).unwrap_or_default();
    let read = fields.into_iter().filter_map(|(name, field)| {
        let value = serde_json::from_str(field.get()).ok().or_else(|| instead(&name, field))?;
        Some((name, value))
    });
    Value::Object(read.collect())
}

/// Reads a list, and hands on its objects.
struct List<F>(F);

impl<'de, F: FnMut(&RawValue)> DeserializeSeed<'de> for List<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(&RawValue)> Visitor<'de> for List<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key::<Cow<'_, str>>()? {
            if field == "items" {
                map.next_value_seed(Items(&mut self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The items of a list.
struct Items<'f, F>(&'f mut F);

impl<'de, F: FnMut(&RawValue)> DeserializeSeed<'de> for Items<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&RawValue)> Visitor<'de> for Items<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&RawValue>()? {
            (self.0)(item);
        }
        Ok(())
    }

    /// Go writes an empty list so.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The path of a kind, in all namespaces or in one.
pub(super) fn path(resource: &ApiResource, version: &str, namespace: Option<&str>) -> String {
    let root = if resource.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", resource.group) };
    let within = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
    format!("{root}/{version}{within}/{}", resource.plural)
}

/// Adds what items of lists leave out, and removes what is not used.
pub(super) fn complete(mut object: Value, resource: &ApiResource, version: &str) -> Value {
    let Value::Object(fields) = &mut object else { return object };
    fields.insert("apiVersion".to_owned(), resource.api_version(version).into());
    fields.insert("kind".to_owned(), resource.kind.as_str().into());
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        metadata.remove("managedFields");
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    object
}

/// How large a page may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageSize {
    objects: u32,
}

impl PageSize {
    /// Some hundred kilobytes of usual objects.
    pub(super) const USUAL: Self = Self { objects: 500 };

    /// For an answer that is larger than it may be, if there is a smaller size.
    pub(super) fn smaller(self) -> Option<Self> {
        (self.objects > 1).then_some(Self { objects: self.objects / 2 })
    }

    /// The most octets of an answer: each kind may have one in memory. One object by itself may be larger than any that an API server takes.
    fn octets(self) -> u64 {
        if self.objects > 1 { 16 << 20 } else { 64 << 20 }
    }
}

/// The text of a body; `None`: it has more octets.
async fn read_within(body: impl AsyncRead, octets: u64) -> io::Result<Option<String>> {
    let mut text = String::new();
    pin!(body).take(octets + 1).read_to_string(&mut text).await?;
    Ok(u64::try_from(text.len()).is_ok_and(|length| length <= octets).then_some(text))
}

/// All objects that a selector selects, page by page; from the first one again, with fewer objects, where a page is too large.
pub(super) async fn select(
    cluster: &Cluster,
    resource: &'static ApiResource,
    namespace: &str,
    params: &ListParams,
) -> Result<Vec<Value>, Problem> {
    let mut size = PageSize::USUAL;
    let mut versions = resource.versions.iter().copied();
    let mut next = versions.next();
    while let Some(version) = next {
        let collection = Collection { resource, version, namespace: Some(namespace), part: Part::Whole };
        match pages_of(cluster, collection, params.clone(), size).await {
            Ok(objects) => return Ok(objects),
            Err(Failure::TooLarge(smaller)) => size = smaller,
            Err(Failure::Missing) => next = versions.next(),
            Err(Failure::Problem(problem)) => return Err(problem),
            Err(Failure::Expired) => {
                return Err(Problem::Unavailable(format!("its pages of {} expire", collection.path())));
            }
        }
    }
    Ok(Vec::new())
}

async fn pages_of(
    cluster: &Cluster,
    collection: Collection<'_>,
    mut params: ListParams,
    size: PageSize,
) -> Result<Vec<Value>, Failure> {
    let mut objects = Vec::new();
    loop {
        let mut page = collection.page(cluster, &params, size).await?;
        let next = page.next.take();
        page.for_each(|object| objects.push(object)).map_err(|error| {
            let problem = format!("its answer to {} cannot be read: {error}", collection.path());
            Failure::Problem(Problem::Unavailable(problem))
        })?;
        match next {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(objects),
        }
    }
}

pub(super) fn failure(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => of_status(status),
        other => Failure::Problem(Problem::Unavailable(with_causes(other))),
    }
}

/// Why a page is not answered; `continues`: it is not the first one.
fn of_listing(error: &kube::Error, continues: bool) -> Failure {
    match error {
        // Nothing was sent that could have expired.
        kube::Error::Api(status) if status.code == 400 && !continues => of_code(status),
        error => failure(error),
    }
}

pub(super) fn of_status(status: &kube::core::Status) -> Failure {
    match status.code {
        401 | 403 => Failure::Problem(Problem::Forbidden(status.message.clone())),
        404 => Failure::Missing,
        // A version, or the place of a next page, that the server does not understand is no better than one that it has forgotten.
        400 | 410 => Failure::Expired,
        _ => of_code(status),
    }
}

fn of_code(status: &kube::core::Status) -> Failure {
    Failure::Problem(Problem::Unavailable(format!("{} {}", status.code, status.message)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::key::Kind;
    use serde_json::json;

    fn objects(text: &str) -> Vec<Value> {
        let resource = ApiResource::of(Kind::Service).unwrap();
        let (text, resource_version) = (text.to_owned(), String::new());
        let page = Page { text, resource, version: "v1", resource_version, next: None, permit: None };
        let mut objects = Vec::new();
        page.for_each(|object| objects.push(object)).unwrap();
        objects
    }

    /// An object whose field is nested so deeply.
    fn nested(field: &str, depth: usize) -> String {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        format!(r#"{{"metadata": {{"name": "n", "namespace": "x"}}, "{field}": {deep}}}"#)
    }

    #[test]
    fn what_is_nested_too_deeply_concerns_no_other_object() {
        let text = format!(
            r#"{{"metadata": {{"resourceVersion": "7"}}, "items": [{}, {}, {}, {{"metadata": {{"name": "b"}}}}]}}"#,
            nested("status", 300),
            nested("spec", 300),
            nested("x", 20)
        );
        assert!(serde_json::from_str::<Head>(&text).is_ok());
        let found = objects(&text);
        let names: Vec<_> = found.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["n", "n", "n", "b"]);
        assert!(found[0].get("status").is_none() && found[1]["spec"] == TOO_DEEP && found[2]["x"].is_object());
        let managed =
            format!(r#"{{"metadata": {{"name": "m", "managedFields": {}1{}}}}}"#, "[".repeat(300), "]".repeat(300));
        assert_eq!(objects(&format!(r#"{{"items": [{managed}]}}"#))[0]["metadata"], json!({"name": "m"}));
    }

    #[test]
    fn a_list_with_an_object_without_a_name_is_none() {
        for items in
            [r#"[{"metadata": {}}]"#, r#"[{}]"#, "[1]", r#"[{"metadata": {"name": 1}}]"#, "{}", r#"[{"metadata""#]
        {
            let text = format!(r#"{{"metadata": {{"resourceVersion": "7"}}, "items": {items}}}"#);
            assert!(serde_json::from_str::<Head>(&text).is_err(), "{items}");
        }
        assert!(serde_json::from_str::<Head>(r#"{"metadata": {}}"#).is_err(), "without items");
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_is_not_kept() {
        let read = |body: &'static str| read_within(body.as_bytes(), 4);
        assert_eq!(read("1234").await.unwrap().as_deref(), Some("1234"));
        assert_eq!(read("12345").await.unwrap(), None);
        let mut size = PageSize::USUAL;
        let mut smaller = Vec::new();
        while let Some(next) = size.smaller() {
            smaller.push(next.objects);
            size = next;
        }
        assert_eq!(smaller, [250, 125, 62, 31, 15, 7, 3, 1]);
        assert!(size.octets() > PageSize::USUAL.octets());
    }

    #[test]
    fn a_page_is_read_object_by_object() {
        let found = objects(
            r#"{"metadata": {"resourceVersion": "7"}, "items": [
                {"metadata": {"name": "a", "managedFields": [{}]}}, {"metadata": {"name": "b"}, "spec": {"x": [1, null]}}
            ], "kind": "ServiceList"}"#,
        );
        let a = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}});
        let b = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}, "spec": {"x": [1, null]}});
        assert_eq!(found, [a, b]);
        assert!(objects(r#"{"items": null, "metadata": {}}"#).is_empty(), "Go writes an empty list so");
        assert!(objects(r#"{"metadata": {}}"#).is_empty());
    }
}
