//! Values of header lines that this program makes: valid by the way they are made, so that a head takes them without a check, and held in
//! place, so that a request needs no memory for them.

use crate::FieldValue;
use crate::octets::is_value;
use std::borrow::Cow;
use std::fmt::{self, Write};
use std::net::IpAddr;
use std::ops::Deref;

/// A made value of at most `N` octets of visible ASCII and inner spaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MadeText<const N: usize> {
    octets: [u8; N],
    length: usize,
}

/// A version 4 UUID (RFC 9562 §5.4).
pub type Uuid = MadeText<36>;
/// The value of a `Date` header (RFC 9110 §5.6.7).
pub type HttpDate = MadeText<29>;
/// An IP address.
pub type AddressText = MadeText<45>;
/// A decimal number.
pub type Decimal = MadeText<20>;

impl<const N: usize> MadeText<N> {
    const EMPTY: Self = Self { octets: [0; N], length: 0 };

    /// What `value` displays as, up to `N` octets.
    fn of(value: impl fmt::Display) -> Self {
        let mut text = Self::EMPTY;
        // The only error is the end of the room.
        let _ = write!(Room(&mut text), "{value}");
        text
    }

    /// A text; empty if it has more than `N` octets.
    fn copy(value: &str) -> Self {
        let mut text = Self::EMPTY;
        let _ = Room(&mut text).write_str(value);
        text
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self).unwrap_or_default()
    }
}

struct Room<'a, const N: usize>(&'a mut MadeText<N>);

impl<const N: usize> Write for Room<'_, N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.0.length + text.len();
        self.0.octets.get_mut(self.0.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.0.length = end;
        Ok(())
    }
}

impl Uuid {
    /// Of random bits.
    pub fn from_random(random: u128) -> Self {
        let bits = (random & !(0xf << 76) | (4 << 76)) & !(0x3 << 62) | (0x2 << 62);
        // Every request has one, so that eight digits are made at a time.
        let digits = |at: u32| hex_digits((bits >> at) as u32);
        let [a0, a1, a2, a3, a4, a5, a6, a7] = digits(96);
        let [b0, b1, b2, b3, c0, c1, c2, c3] = digits(64);
        let [d0, d1, d2, d3, e0, e1, e2, e3] = digits(32);
        let [e4, e5, e6, e7, e8, e9, ea, eb] = digits(0);
        let octets = [
            a0, a1, a2, a3, a4, a5, a6, a7, b'-', b0, b1, b2, b3, b'-', c0, c1, c2, c3, b'-', d0, d1, d2, d3, b'-', e0,
            e1, e2, e3, e4, e5, e6, e7, e8, e9, ea, eb,
        ];
        Self { octets, length: 36 }
    }
}

/// The eight digits of a number in hexadecimal.
fn hex_digits(number: u32) -> [u8; 8] {
    const EACH: u64 = u64::MAX / 255;
    let spread = u64::from(number);
    let spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    // One digit an octet.
    let values = (spread | spread << 4) & (EACH * 0x0f);
    let is_letter = (values + EACH * 6) >> 4 & EACH;
    (values + EACH * u64::from(b'0') + is_letter * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

impl HttpDate {
    /// Of a formatted date; empty if a header may not have it.
    pub fn from_text(date: &str) -> Self {
        if is_value(date.as_bytes()) { Self::copy(date) } else { Self::EMPTY }
    }
}

impl From<IpAddr> for AddressText {
    fn from(address: IpAddr) -> Self {
        Self::of(address)
    }
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        Self::copy(itoa::Buffer::new().format(number))
    }
}

impl<const N: usize> Deref for MadeText<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Display for MadeText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for MadeText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<'a, const N: usize> From<&'a MadeText<N>> for FieldValue<'a> {
    fn from(text: &'a MadeText<N>) -> Self {
        Self::of_made(Cow::Borrowed(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_format() {
        for number in (0..=u32::MAX).step_by(0x0101_0107).chain([u32::MAX, 0x0123_4567, 0x89ab_cdef]) {
            assert_eq!(hex_digits(number), *format!("{number:08x}").as_bytes());
        }
    }

    #[test]
    fn made_values_are_valid() {
        for (text, expected) in [
            (AddressText::from("::ffff:1.2.3.4".parse::<IpAddr>().unwrap()).to_string(), "::ffff:1.2.3.4"),
            (
                AddressText::from("2001:db8:1111:2222:3333:4444:5555:6666".parse::<IpAddr>().unwrap()).to_string(),
                "2001:db8:1111:2222:3333:4444:5555:6666",
            ),
            (Decimal::from(0).to_string(), "0"),
            (Decimal::from(10).to_string(), "10"),
            (Decimal::from(999).to_string(), "999"),
            (Decimal::from(u64::MAX).to_string(), "18446744073709551615"),
            (Uuid::from_random(0).to_string(), "00000000-0000-4000-8000-000000000000"),
            (Uuid::from_random(u128::MAX).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff"),
            (HttpDate::from_text("Sun, 06 Nov 1994 08:49:37 GMT").to_string(), "Sun, 06 Nov 1994 08:49:37 GMT"),
            (HttpDate::from_text("a\r\nb").to_string(), ""),
        ] {
            assert_eq!(text, expected);
            assert!(is_value(text.as_bytes()));
        }
        assert_eq!(&*FieldValue::from(&Decimal::from(7)), b"7");
        assert_eq!(
            Uuid::from_random(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef).as_str(),
            "01234567-89ab-4def-8123-456789abcdef"
        );
    }
}
