//! Errors of messages, and the status of the response to each.

/// Why a head is rejected. The connection is not usable afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not HTTP/1.
    #[error("the head is not HTTP/1.1")]
    Malformed,
    /// A line ends with LF alone, or contains CR.
    #[error("a line of the head does not end with CR LF")]
    BareLineFeed,
    /// The version is not 1.0 or 1.1.
    #[error("the HTTP version is not supported")]
    Version,
    /// HTTP/1.0 (S-120).
    #[error("HTTP/1.0 is not enabled")]
    Http10,
    /// The head has too many bytes.
    #[error("the head is too large")]
    TooLarge,
    /// The head has too many header lines.
    #[error("the head has too many header lines")]
    TooManyFields,
    /// `Content-Length` is repeated, not a number, or combined with `Transfer-Encoding`.
    #[error("Content-Length is not a single number, or is combined with Transfer-Encoding")]
    ContentLength,
    /// `Transfer-Encoding` is not `chunked` alone.
    #[error("Transfer-Encoding is not `chunked` alone")]
    TransferEncoding,
    /// The transfer coding is unknown.
    #[error("the transfer coding is not implemented")]
    UnknownCoding,
    /// `Host` is missing, repeated or invalid.
    #[error("Host is missing, repeated or invalid")]
    Host,
    /// The request target has a form that its method does not allow.
    #[error("the request target is invalid")]
    Target,
    /// `Expect` is not `100-continue`.
    #[error("the expectation is unknown")]
    Expectation,
    /// The name of a header has an underscore, and such names are rejected (PC-04).
    #[error("the name of a header has an underscore")]
    Underscore,
    /// An extended CONNECT has an unknown protocol (RFC 9220 §3).
    #[error("the protocol of the CONNECT request is unknown")]
    UnknownProtocol,
    /// `Connection` names a header that must not be dropped.
    #[error("Connection names a header that must not be dropped")]
    Connection,
}

impl HeadError {
    /// The status of the response to a request with such a head.
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

    /// The detail for logs (`%RESPONSE_CODE_DETAILS%`).
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

/// Why a body is rejected. The connection is not usable afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A chunk size is not hexadecimal, or its line is too long.
    #[error("a chunk size is invalid")]
    ChunkSize,
    /// A chunk does not end with CR LF.
    #[error("a chunk does not end with CR LF")]
    ChunkEnd,
    /// The trailers are malformed or too large.
    #[error("the trailers are invalid")]
    Trailers,
}
