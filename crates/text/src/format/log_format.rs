//! What a line of the access log looks like: a text, or a JSON object (TE-05).

use super::operator::Operator;
use super::parse::{Format, InvalidFormat};

/// What a line looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFormat {
    /// A text, which ends where it says so: with `\n` as a rule.
    Text(Format),
    /// An object, on one line.
    Json(JsonNode),
}

/// A value of a JSON format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonNode {
    /// A text with operators. One operator alone keeps its type: a number, or `null` where there is no value.
    Format(Format),
    /// A value that is always the same, as JSON.
    Literal(Box<str>),
    /// An object; its keys are sorted, as Envoy writes them.
    Object(Box<[(Box<str>, JsonNode)]>),
    /// A list.
    List(Box<[JsonNode]>),
}

/// Istio's default text.
const ISTIO_TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
                          %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
                          \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
                          %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
                          \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
                          %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% \
                          %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// Istio's default JSON, by its keys.
const ISTIO_JSON: [(&str, &str); 24] = [
    ("authority", "%REQ(:AUTHORITY)%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("duration", "%DURATION%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("route_name", "%ROUTE_NAME%"),
    ("start_time", "%START_TIME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
];

impl LogFormat {
    /// Istio's default text.
    pub fn istio_text() -> Self {
        // A test parses the text.
        Self::Text(Format::parse(ISTIO_TEXT).unwrap_or_default())
    }

    /// Istio's default JSON.
    pub fn istio_json() -> Self {
        let field = |(key, text): (&str, &str)| (key.into(), JsonNode::Format(Format::parse(text).unwrap_or_default()));
        Self::Json(JsonNode::object(ISTIO_JSON.map(field).into()))
    }

    /// A text that was configured. As in Istio, a line break is added where the text ends without one.
    pub fn text(text: &str) -> Result<Self, InvalidFormat> {
        let ended = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
        Format::parse(&ended).map(Self::Text)
    }

    /// All operators.
    pub fn operators(&self) -> Vec<&Operator> {
        match self {
            Self::Text(format) => format.operators().collect(),
            Self::Json(node) => node.operators(),
        }
    }
}

impl JsonNode {
    /// An object of these fields; of two with one key the last counts.
    pub fn object(mut fields: Vec<(Box<str>, JsonNode)>) -> Self {
        fields.reverse();
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        fields.dedup_by(|(one, _), (other, _)| one == other);
        Self::Object(fields.into())
    }

    fn operators(&self) -> Vec<&Operator> {
        match self {
            Self::Format(format) => format.operators().collect(),
            Self::Literal(_) => Vec::new(),
            Self::Object(fields) => fields.iter().flat_map(|(_, node)| node.operators()).collect(),
            Self::List(nodes) => nodes.iter().flat_map(Self::operators).collect(),
        }
    }
}
