//! Values as people write objects: fields of structs that say nothing are left out, which are absent ones, `false`, 0, empty texts, lists,
//! maps and blocks. What was given is kept: `false` in a field that may be absent, entries of maps, items of lists.

use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};
use serde::{Serialize, Serializer};
use serde_json::{Error, Map, Value};

/// A value, and whether a field with it says nothing.
pub(super) struct Plain {
    pub(super) value: Value,
    says_nothing: bool,
}

impl Plain {
    fn said(value: Value) -> Self {
        Self { value, says_nothing: false }
    }

    fn new(value: Value, says_nothing: bool) -> Self {
        Self { value, says_nothing }
    }
}

/// Writes values so.
pub(super) struct Writer;

type Written = Result<Plain, Error>;

impl Serializer for Writer {
    type Ok = Plain;
    type Error = Error;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Variant<Items>;
    type SerializeMap = Entries;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Variant<Fields>;

    fn serialize_bool(self, value: bool) -> Written {
        Ok(Plain::new(value.into(), !value))
    }

    fn serialize_i8(self, value: i8) -> Written {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Written {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Written {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Written {
        Ok(Plain::new(value.into(), value == 0))
    }

    fn serialize_u8(self, value: u8) -> Written {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Written {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Written {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Written {
        Ok(Plain::new(value.into(), value == 0))
    }

    fn serialize_f32(self, value: f32) -> Written {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Written {
        Ok(Plain::new(value.into(), value == 0.0))
    }

    fn serialize_char(self, value: char) -> Written {
        Ok(Plain::said(value.to_string().into()))
    }

    fn serialize_str(self, text: &str) -> Written {
        Ok(Plain::new(text.into(), text.is_empty()))
    }

    fn serialize_bytes(self, octets: &[u8]) -> Written {
        Ok(Plain::new(octets.into(), octets.is_empty()))
    }

    fn serialize_none(self) -> Written {
        Ok(Plain::new(Value::Null, true))
    }

    /// It was given, whatever it is.
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self).map(|plain| Plain::said(plain.value))
    }

    fn serialize_unit(self) -> Written {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Written {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _name: &'static str, _at: u32, variant: &'static str) -> Written {
        Ok(Plain::said(variant.into()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _at: u32,
        variant: &'static str,
        value: &T,
    ) -> Written {
        Ok(of_variant(variant, value.serialize(self)?))
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Items, Error> {
        Ok(Items::default())
    }

    fn serialize_tuple(self, _length: usize) -> Result<Items, Error> {
        Ok(Items::default())
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Items, Error> {
        Ok(Items::default())
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _at: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Variant<Items>, Error> {
        Ok(Variant { name: variant, content: Items::default() })
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Entries, Error> {
        Ok(Entries::default())
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Fields, Error> {
        Ok(Fields::default())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _at: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Variant<Fields>, Error> {
        Ok(Variant { name: variant, content: Fields::default() })
    }
}

/// What `variant` of an enum says.
fn of_variant(variant: &str, content: Plain) -> Plain {
    Plain::said(Value::Object(Map::from_iter([(variant.to_owned(), content.value)])))
}

/// A list.
#[derive(Default)]
pub(super) struct Items(Vec<Value>);

impl Items {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.0.push(value.serialize(Writer)?.value);
        Ok(())
    }

    fn written(self) -> Plain {
        let says_nothing = self.0.is_empty();
        Plain::new(Value::Array(self.0), says_nothing)
    }
}

impl SerializeSeq for Items {
    type Ok = Plain;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.push(value)
    }

    fn end(self) -> Written {
        Ok(self.written())
    }
}

impl SerializeTuple for Items {
    type Ok = Plain;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.push(value)
    }

    fn end(self) -> Written {
        Ok(self.written())
    }
}

impl SerializeTupleStruct for Items {
    type Ok = Plain;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.push(value)
    }

    fn end(self) -> Written {
        Ok(self.written())
    }
}

/// A map.
#[derive(Default)]
pub(super) struct Entries {
    entries: Map<String, Value>,
    key: Option<String>,
}

impl SerializeMap for Entries {
    type Ok = Plain;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.key = Some(match key.serialize(Writer)?.value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            _ => return Err(Error::custom("a key is neither a text nor a number")),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let key = self.key.take().unwrap_or_default();
        self.entries.insert(key, value.serialize(Writer)?.value);
        Ok(())
    }

    fn end(self) -> Written {
        let says_nothing = self.entries.is_empty();
        Ok(Plain::new(Value::Object(self.entries), says_nothing))
    }
}

/// A struct.
#[derive(Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Error> {
        let plain = value.serialize(Writer)?;
        if !plain.says_nothing {
            self.0.insert(name.to_owned(), plain.value);
        }
        Ok(())
    }

    fn written(self) -> Plain {
        let says_nothing = self.0.is_empty();
        Plain::new(Value::Object(self.0), says_nothing)
    }
}

impl SerializeStruct for Fields {
    type Ok = Plain;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.put(name, value)
    }

    fn end(self) -> Written {
        Ok(self.written())
    }
}

/// A variant of an enum with content.
pub(super) struct Variant<C> {
    name: &'static str,
    content: C,
}

impl SerializeTupleVariant for Variant<Items> {
    type Ok = Plain;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.content.push(value)
    }

    fn end(self) -> Written {
        Ok(of_variant(self.name, self.content.written()))
    }
}

impl SerializeStructVariant for Variant<Fields> {
    type Ok = Plain;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.content.put(name, value)
    }

    fn end(self) -> Written {
        Ok(of_variant(self.name, self.content.written()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(Serialize, Default)]
    struct Inner {
        flag: bool,
        given: Option<bool>,
        number: u16,
    }

    #[derive(Serialize, Default)]
    enum Choice {
        #[default]
        First,
        Named(Inner),
        Fields {
            text: &'static str,
            count: i32,
        },
    }

    #[derive(Serialize, Default)]
    struct Outer {
        absent: Option<String>,
        text: &'static str,
        list: Vec<Inner>,
        map: BTreeMap<&'static str, &'static str>,
        nested: Inner,
        block: Option<Inner>,
        share: f64,
        choice: Choice,
    }

    fn plain(value: &impl Serialize) -> Value {
        value.serialize(Writer).unwrap().value
    }

    #[test]
    fn fields_that_say_nothing_are_left_out() {
        assert_eq!(plain(&Outer::default()), json!({"choice": "First"}));
        let nested = Inner { flag: true, ..Inner::default() };
        assert_eq!(plain(&Outer { nested, ..Outer::default() }), json!({"nested": {"flag": true}, "choice": "First"}));
    }

    #[test]
    fn what_was_given_is_kept() {
        let outer = Outer {
            text: "x",
            list: vec![Inner::default(), Inner { given: Some(false), number: 7, flag: true }],
            map: BTreeMap::from([("a", "")]),
            block: Some(Inner::default()),
            share: 0.5,
            choice: Choice::Fields { text: "", count: -1 },
            ..Outer::default()
        };
        let expected = json!({
            "text": "x", "list": [{}, {"flag": true, "given": false, "number": 7}], "map": {"a": ""}, "block": {}, "share": 0.5,
            "choice": {"Fields": {"count": -1}},
        });
        assert_eq!(plain(&outer), expected);
        assert_eq!(plain(&Choice::Named(Inner::default())), json!({"Named": {}}));
        assert_eq!(plain(&[Some(0), None]), json!([0, null]));
        assert_eq!(plain(&BTreeMap::from([(1, false)])), json!({"1": false}));
        assert!(BTreeMap::from([(None::<u8>, 1)]).serialize(Writer).is_err());
    }
}
