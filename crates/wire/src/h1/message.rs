//! Terms of messages that both reading and writing use.

/// How large a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// All of it, in bytes.
    pub bytes: usize,
    /// Its header lines; at most [`MAX_FIELDS`].
    pub fields: usize,
    /// Whether HTTP/1.0 is served (S-120).
    pub http10: bool,
    /// What becomes of names with underscores (PC-04).
    pub underscores: Underscores,
}

/// What becomes of header names with underscores, which some backends take for hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Underscores {
    /// They are passed on.
    #[default]
    Allow,
    /// The request is refused.
    Reject,
    /// The header is left out.
    Drop,
}

/// Header lines that can be parsed at all.
pub const MAX_FIELDS: usize = 100;

impl Default for HeadLimits {
    /// Envoy's defaults (S-122).
    fn default() -> Self {
        Self { bytes: 60 << 10, fields: MAX_FIELDS, http10: false, underscores: Underscores::Allow }
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

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyLength {
    /// There is none.
    #[default]
    None,
    /// After that many bytes; not zero.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the connection closes; of responses alone.
    UntilClose,
}
