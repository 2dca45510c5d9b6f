//! The ClientHello of a TLS client, octet by octet: also one that no TLS library sends.

/// A ClientHello (RFC 8446 §4.1.2). Its extensions are in the order in which they are added.
#[derive(Debug, Default)]
pub struct ClientHello {
    extensions: Vec<u8>,
}

impl ClientHello {
    /// Adds an extension `server_name` with a list of names (RFC 6066 §3).
    #[must_use]
    pub fn server_name(mut self, names: &[&[u8]]) -> Self {
        let list: Vec<u8> = names.iter().flat_map(|name| [vec![0], prefixed(2, name)].concat()).collect();
        self.extensions.extend([&[0, 0][..], &prefixed(2, &prefixed(2, &list))].concat());
        self
    }

    /// Adds an extension for ALPN with one protocol (RFC 7301 §3.1).
    #[must_use]
    pub fn alpn(mut self, protocol: &[u8]) -> Self {
        self.extensions.extend([&[0, 16][..], &prefixed(2, &prefixed(2, &prefixed(1, protocol)))].concat());
        self
    }

    /// The message, without records.
    pub fn message(&self) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            &prefixed(1, &[9; 32]),
            &prefixed(2, &[0x13, 1]),
            &prefixed(1, &[0]),
            &prefixed(2, &self.extensions),
        ]
        .concat();
        [&[1][..], &prefixed(3, &body)].concat()
    }

    /// The message in records of at most `size` octets.
    pub fn records(&self, size: usize) -> Vec<u8> {
        records(&self.message(), size)
    }
}

/// A message of a handshake in records of at most `size` octets.
pub fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|piece| [&[22, 3, 1][..], &prefixed(2, piece)].concat()).collect()
}

/// Octets behind their length, which has `size` octets.
pub fn prefixed(size: usize, octets: &[u8]) -> Vec<u8> {
    [&octets.len().to_be_bytes()[8 - size..], octets].concat()
}
