//! The schema of a kind, from the type that reads it: its `Deserialize` is asked what it expects at each place, one place after the other. So
//! the schema has the fields, types and words that are read. The API server checks these, and keeps all other fields as they are: Istio has
//! fields that no type here has, and later versions have more. What is demanded of values besides is in `rules`.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Expected as Expectation, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::fmt;

/// Levels beyond which a type is taken for one that contains itself.
const DEEPEST: usize = 24;

/// The keyword by which the API server keeps fields that a schema does not have.
const OPEN: &str = "x-kubernetes-preserve-unknown-fields";

/// A step from a value to one in it.
#[derive(Debug, Clone, Copy)]
enum Step {
    Field(&'static str),
    /// An element of a list.
    Element,
    /// A value of a map.
    Entry,
}

/// What is expected at a place.
#[derive(Debug, Clone)]
enum Expected {
    Struct(&'static [&'static str]),
    List,
    Map,
    Words(&'static [&'static str]),
    /// Whatever there is.
    Anything,
    /// Something that is described in words: durations, enums of the API, numbers or names.
    Described(String),
    Value(Value),
}

/// The schema of a type; an error names what the type asks for and no schema says.
pub(super) fn of<T: DeserializeOwned>() -> Result<Value, String> {
    at::<T>(&mut Vec::new())
}

fn at<T: DeserializeOwned>(path: &mut Vec<Step>) -> Result<Value, String> {
    if path.len() > DEEPEST {
        return Err(format!("{path:?} has no end"));
    }
    let found = RefCell::new(None);
    // It fails where the path ends, or where a value is refused that nothing was said of yet.
    let _ = T::deserialize(Trace { path, found: &found, is_wrapped: false });
    let expected = found.into_inner().ok_or_else(|| format!("{path:?} asks for nothing"))?;
    let mut below = |step: Step| {
        path.push(step);
        let schema = at::<T>(path);
        path.pop();
        schema
    };
    Ok(match expected {
        Expected::Struct(fields) => {
            let mut properties = Map::new();
            // The names in the form of proto are read, too, and kept as unknown fields are.
            for field in fields.iter().filter(|field| !field.contains('_')) {
                properties.insert((*field).to_owned(), below(Step::Field(field))?);
            }
            properties.sort_keys();
            json!({"type": "object", "properties": properties, OPEN: true})
        }
        Expected::List => json!({"type": "array", "items": below(Step::Element)?}),
        Expected::Map => json!({"type": "object", "additionalProperties": below(Step::Entry)?}),
        Expected::Words(words) => json!({"type": "string", "enum": words}),
        Expected::Anything => json!({OPEN: true}),
        Expected::Described(words) => described(&words).ok_or_else(|| format!("{path:?} asks for {words}"))?,
        Expected::Value(schema) => schema,
    })
}

/// The schemas of values that have more forms than one, by what is expected in words.
fn described(words: &str) -> Option<Value> {
    if words.starts_with("a duration") {
        let number = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)";
        let pattern = format!("^[-+]?(0|({number}(ns|us|µs|μs|ms|s|m|h))+)$");
        return Some(json!({"type": "string", "pattern": pattern}));
    }
    if words.starts_with("a port number or the name") {
        return Some(json!({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true}));
    }
    // Numbers are read, too; the API has the names alone.
    let names: Vec<&str> = words.strip_prefix("one of")?.split('`').skip(1).step_by(2).collect();
    Some(json!({"type": "string", "enum": names}))
}

/// Leads to one place of a type, and notes what is expected there.
struct Trace<'t> {
    path: &'t [Step],
    found: &'t RefCell<Option<Expected>>,
    /// Whether the value may be absent although it is a number or a boolean: Istio has a wrapper there, which may be null.
    is_wrapped: bool,
}

/// The place is reached, or cannot be.
#[derive(Debug)]
struct Reached;

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reached")
    }
}

impl std::error::Error for Reached {}

impl serde::de::Error for Reached {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl<'t> Trace<'t> {
    /// What is expected where the path ends; the step to go where it does not.
    fn note(&self, expected: Expected) -> Result<(Step, Trace<'t>), Reached> {
        match self.path {
            [] => {
                self.found.replace(Some(expected));
                Err(Reached)
            }
            [step, path @ ..] => Ok((*step, Trace { path, found: self.found, is_wrapped: false })),
        }
    }

    fn value<V>(&self, mut schema: Value) -> Result<V, Reached> {
        let is_text = schema.get("type").is_some_and(|of| of == "string");
        if let (true, false, Value::Object(fields)) = (self.is_wrapped, is_text, &mut schema) {
            fields.insert("nullable".to_owned(), true.into());
        }
        self.note(Expected::Value(schema)).and(Err(Reached))
    }
}

macro_rules! values {
    ($($method:ident $schema:tt)+) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Reached> {
            self.value(json!($schema))
        })+
    };
}

impl<'de> Deserializer<'de> for Trace<'_> {
    type Error = Reached;

    values! {
        deserialize_bool {"type": "boolean"}
        deserialize_i8 {"type": "integer", "minimum": (i8::MIN), "maximum": (i8::MAX)}
        deserialize_i16 {"type": "integer", "minimum": (i16::MIN), "maximum": (i16::MAX)}
        deserialize_i32 {"type": "integer", "format": "int32"}
        deserialize_i64 {"type": "integer", "format": "int64"}
        deserialize_u8 {"type": "integer", "minimum": 0, "maximum": (u8::MAX)}
        deserialize_u16 {"type": "integer", "minimum": 0, "maximum": (u16::MAX)}
        deserialize_u32 {"type": "integer", "minimum": 0, "maximum": (u32::MAX)}
        deserialize_u64 {"type": "integer", "minimum": 0}
        deserialize_f32 {"type": "number"}
        deserialize_f64 {"type": "number"}
        deserialize_char {"type": "string", "minLength": 1, "maxLength": 1}
        deserialize_str {"type": "string"}
        deserialize_string {"type": "string"}
        deserialize_identifier {"type": "string"}
        deserialize_bytes {"type": "string", "format": "byte"}
        deserialize_byte_buf {"type": "string", "format": "byte"}
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reached> {
        let words = (&visitor as &dyn Expectation).to_string();
        self.note(Expected::Described(words)).and(Err(Reached))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reached> {
        visitor.visit_some(Trace { is_wrapped: true, ..self })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Reached> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Reached> {
        match self.note(Expected::Struct(fields))? {
            (Step::Field(name), rest) => visitor.visit_map(One(Some(name), rest)),
            _ => Err(Reached),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reached> {
        match self.note(Expected::List)? {
            (Step::Element, rest) => visitor.visit_seq(One(Some(""), rest)),
            _ => Err(Reached),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reached> {
        match self.note(Expected::Map)? {
            (Step::Entry, rest) => visitor.visit_map(One(Some("name"), rest)),
            _ => Err(Reached),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Reached> {
        self.note(Expected::Words(variants)).and(Err(Reached))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Reached> {
        self.note(Expected::Anything).and(Err(Reached))
    }

    forward_to_deserialize_any! { i128 u128 unit unit_struct tuple tuple_struct }
}

/// A list or map of one value, with the name of that.
struct One<'t>(Option<&'static str>, Trace<'t>);

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Reached;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Reached> {
        match self.0.take() {
            Some(_) => seed.deserialize(Trace { ..self.1 }).map(Some),
            None => Ok(None),
        }
    }
}

impl<'de> MapAccess<'de> for One<'_> {
    type Error = Reached;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Reached> {
        match self.0.take() {
            Some(name) => seed.deserialize(StrDeserializer::new(name)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Reached> {
        seed.deserialize(Trace { ..self.1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::spec::gateway::Gateway;
    use resources::spec::scalar::Duration;
    use std::collections::BTreeMap;

    #[test]
    fn a_schema_has_what_the_type_reads() {
        let gateway = of::<Gateway>().unwrap();
        let at = |path: &str| gateway.pointer(path).cloned().unwrap_or_default();
        let server = "/properties/servers/items/properties";
        assert_eq!(at(&format!("{server}/hosts")), json!({"type": "array", "items": {"type": "string"}}));
        assert_eq!(at(&format!("{server}/port/properties/number/type")), "integer");
        assert_eq!(
            at(&format!("{server}/tls/properties/insecureSkipVerify")),
            json!({"type": "boolean", "nullable": true})
        );
        assert_eq!(at(&format!("{server}/tls/{OPEN}")), true);
        assert!(
            at(&format!("{server}/tls/properties/mode/enum")).as_array().unwrap().contains(&"OPTIONAL_MUTUAL".into())
        );
        assert_eq!(at(&format!("{server}/tls/properties/https_redirect")), Value::Null);
        assert_eq!(at("/properties/selector"), json!({"type": "object", "additionalProperties": {"type": "string"}}));
        assert_eq!(of::<BTreeMap<String, Option<u8>>>().unwrap()["additionalProperties"]["maximum"], 255);
        assert_eq!(of::<Duration>().unwrap()["type"], "string");
    }

    #[test]
    fn what_no_schema_says_is_an_error() {
        assert!(of::<Value>().unwrap_err().contains("any valid JSON value"));
        assert!(of::<(u8, u8)>().is_err());
    }
}
