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
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bits = (random & !(0xf << 76) | (4 << 76)) & !(0x3 << 62) | (0x2 << 62);
        let mut octets = [b'-'; 36];
        let mut nibble = 32;
        for (at, place) in octets.iter_mut().enumerate() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                nibble -= 1;
                *place = DIGITS.get((bits >> (nibble * 4)) as usize & 15).copied().unwrap_or(b'0');
            }
        }
        Self { octets, length: 36 }
    }
}

impl HttpDate {
    /// Of a formatted date; empty if a header may not have it.
    pub fn from_text(date: &str) -> Self {
        if is_value(date.as_bytes()) { Self::of(date) } else { Self::EMPTY }
    }
}

impl From<IpAddr> for AddressText {
    fn from(address: IpAddr) -> Self {
        Self::of(address)
    }
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        let length = number.checked_ilog10().map_or(1, |power| power as usize + 1);
        let (mut octets, mut rest) = ([0; 20], number);
        for place in octets.iter_mut().take(length).rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        Self { octets, length }
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
