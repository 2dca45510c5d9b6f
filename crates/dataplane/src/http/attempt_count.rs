//! `x-envoy-attempt-count` in the head of a request that is sent again.

const NAME: &str = "x-envoy-attempt-count";

/// Writes the number of the attempt into an HTTP/1 head.
pub(super) fn write(head: &mut Vec<u8>, number: u32) {
    // The name may be written in any case (S-115).
    let named = [b"\r\n", NAME.as_bytes(), b": "].concat();
    let end = memchr::memmem::find(head, b"\r\n\r\n").unwrap_or(head.len());
    let mut lines = head.get(..end).unwrap_or_default().windows(named.len());
    let Some(start) = lines.position(|line| line.eq_ignore_ascii_case(&named)).map(|at| at + named.len()) else {
        return;
    };
    let rest = head.get(start..).unwrap_or_default();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    head.splice(start..start + digits, number.to_string().into_bytes());
}

/// The same for the head of an HTTP/2 stream.
pub(super) fn write_stream(head: &mut http::Request<()>, number: u32) {
    if let Some(value) = head.headers_mut().get_mut(NAME) {
        *value = http::HeaderValue::from(number);
    }
}
