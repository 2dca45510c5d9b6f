//! Types of messages that reading and writing share.

/// Limits of heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// The size in bytes.
    pub bytes: usize,
    /// The number of header lines; at most [`MAX_FIELDS`].
    pub fields: usize,
    /// Whether HTTP/1.0 is accepted (S-120).
    pub http10: bool,
    /// The handling of names with underscores (PC-04).
    pub underscores: Underscores,
    /// Whether heads of HTTP/2 get absolute targets, as clients of a forward proxy send them in HTTP/1.
    pub absolute: bool,
}

/// The handling of header names with underscores, which some backends treat as hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Underscores {
    /// They are forwarded.
    #[default]
    Allow,
    /// The request is rejected.
    Reject,
    /// The header is dropped.
    Drop,
}

/// The most header lines that can be parsed.
pub const MAX_FIELDS: usize = 100;

impl Default for HeadLimits {
    /// Envoy's defaults (S-122).
    fn default() -> Self {
        Self { bytes: 60 << 10, fields: MAX_FIELDS, http10: false, underscores: Underscores::Allow, absolute: false }
    }
}

impl HeadLimits {
    /// The same for clients of a forward proxy, some of which send CONNECT in HTTP/1.0.
    #[must_use]
    pub fn of_proxy(self) -> Self {
        Self { http10: true, absolute: true, ..self }
    }
}

/// A version of HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

/// The length of a body (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyLength {
    /// There is no body.
    #[default]
    None,
    /// The body has this many bytes; not zero.
    Length(u64),
    /// The body ends with its last chunk.
    Chunked,
    /// The body ends with the connection; responses only.
    UntilClose,
}
