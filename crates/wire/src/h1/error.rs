//! What is wrong with a message, and the status that says so.

/// Why a head is refused. The connection is not usable afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not HTTP/1.
    #[error("the head is no HTTP/1.1")]
    Malformed,
    /// A line that ends with LF alone, or has CR inside.
    #[error("a line of the head does not end with CR LF")]
    BareLineFeed,
    /// A version other than 1.0 and 1.1.
    #[error("the version of HTTP is not supported")]
    Version,
    /// HTTP/1.0 (S-120).
    #[error("HTTP/1.0 is not served")]
    Http10,
    /// More bytes than allowed.
    #[error("the head is too large")]
    TooLarge,
    /// More header lines than allowed.
    #[error("the head has too many header lines")]
    TooManyFields,
    /// `Content-Length` twice, no number, or together with `Transfer-Encoding`.
    #[error("Content-Length is not one plain number, or stands beside Transfer-Encoding")]
    ContentLength,
    /// `Transfer-Encoding` that is not `chunked` alone.
    #[error("Transfer-Encoding is not `chunked` alone")]
    TransferEncoding,
    /// A coding that is not known.
    #[error("the transfer coding is not implemented")]
    UnknownCoding,
    /// No `Host`, or more than one, or a bad one.
    #[error("there is not exactly one valid Host")]
    Host,
    /// A request target in a form that its method does not allow.
    #[error("the request target is not valid")]
    Target,
    /// `Expect` other than `100-continue`.
    #[error("the expectation is not known")]
    Expectation,
    /// A header's name has an underscore, where that is not taken (PC-04).
    #[error("the name of a header has an underscore")]
    Underscore,
    /// An extended CONNECT for a protocol that is not known (RFC 9220 §3).
    #[error("the protocol of the CONNECT request is not known")]
    UnknownProtocol,
    /// `Connection` names a header that may not be dropped.
    #[error("Connection names a header that it may not")]
    Connection,
}

impl HeadError {
    /// The status of the answer to a request with such a head.
    pub fn status(self) -> u16 {
        match self {
            Self::TooLarge | Self::TooManyFields => 431,
            Self::Version => 505,
            Self::Http10 => 426,
            Self::UnknownCoding | Self::UnknownProtocol => 501,
            Self::Expectation => 417,
            _ => 400,
        }
    }

    /// A word for logs (`%RESPONSE_CODE_DETAILS%`).
    pub fn detail(self) -> &'static str {
        match self {
            Self::Malformed => "http1.codec_error",
            Self::BareLineFeed => "http1.bare_line_feed",
            Self::Version => "http1.unsupported_version",
            Self::Http10 => "low_version",
            Self::TooLarge => "request_headers_too_large",
            Self::TooManyFields => "http1.too_many_headers",
            Self::ContentLength => "http1.invalid_content_length",
            Self::TransferEncoding => "http1.invalid_transfer_encoding",
            Self::UnknownCoding => "http1.unknown_transfer_coding",
            Self::Host => "http1.invalid_host",
            Self::Target => "http1.invalid_url",
            Self::Expectation => "http1.unknown_expectation",
            Self::Underscore => "http1.unexpected_underscore",
            Self::UnknownProtocol => "http2.unknown_protocol",
            Self::Connection => "http1.invalid_connection",
        }
    }
}

/// Why a body is refused. The connection is not usable afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The size of a chunk is not hexadecimal digits, or its line is too long.
    #[error("the size of a chunk is not valid")]
    ChunkSize,
    /// A chunk does not end with CR LF.
    #[error("a chunk does not end with CR LF")]
    ChunkEnd,
    /// The trailers are malformed or too large.
    #[error("the trailers are not valid")]
    Trailers,
}
