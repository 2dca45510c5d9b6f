//! The format of the access log's lines (TE-05).

use super::{AccessLogEncoding, MeshConfig};
use serde_json::Value;
use text::format::{Format, InvalidFormat, JsonNode, LogFormat};

/// Why `accessLogFormat` is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLogFormat {
    /// An operator is wrong; in JSON, of this field.
    #[error("{}{error}", .field.as_ref().map_or_else(String::new, |field| format!("`{field}`: ")))]
    Operator {
        /// The field of the object, where the format is JSON.
        field: Option<Box<str>>,
        /// What is wrong.
        error: InvalidFormat,
    },
    /// The encoding is JSON, and the text is not.
    #[error("it is not JSON, which `accessLogEncoding` demands: {0}")]
    Json(Box<str>),
    /// The encoding is JSON, and the text is another value than an object.
    #[error("it is not a JSON object, which `accessLogEncoding` demands")]
    NoObject,
}

impl MeshConfig {
    /// The format of lines: what `accessLogFormat` says, or Istio's default in the encoding.
    pub fn log_format(&self) -> Result<LogFormat, InvalidLogFormat> {
        let text = &*self.access_log_format;
        match self.access_log_encoding {
            Some(AccessLogEncoding::Json) if text.is_empty() => Ok(LogFormat::istio_json()),
            Some(AccessLogEncoding::Json) => {
                let value =
                    serde_json::from_str(text).map_err(|error| InvalidLogFormat::Json(error.to_string().into()))?;
                let Value::Object(_) = value else { return Err(InvalidLogFormat::NoObject) };
                node(value, "").map(LogFormat::Json)
            }
            Some(AccessLogEncoding::Text) | None if text.is_empty() => Ok(LogFormat::istio_text()),
            Some(AccessLogEncoding::Text) | None => {
                LogFormat::text(text).map_err(|error| InvalidLogFormat::Operator { field: None, error })
            }
        }
    }
}

/// `field` is the path of the value.
fn node(value: Value, field: &str) -> Result<JsonNode, InvalidLogFormat> {
    Ok(match value {
        Value::String(text) => {
            let invalid = |error| InvalidLogFormat::Operator { field: Some(field.into()), error };
            JsonNode::Format(Format::parse(&text).map_err(invalid)?)
        }
        Value::Object(fields) => {
            let inside = |key: &str| if field.is_empty() { key.to_owned() } else { format!("{field}.{key}") };
            let fields = fields.into_iter().map(|(key, value)| {
                let path = inside(&key);
                Ok((key.into(), node(value, &path)?))
            });
            JsonNode::object(fields.collect::<Result<_, _>>()?)
        }
        Value::Array(values) => {
            let values = values.into_iter().enumerate().map(|(at, value)| node(value, &format!("{field}[{at}]")));
            JsonNode::List(values.collect::<Result<_, _>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => JsonNode::Literal(value.to_string().into()),
    })
}
