//! The distinguished encoding of ASN.1 (X.690), as far as certificates and what belongs to them need it: definite, shortest lengths,
//! tags of one octet. `x509` calls it.

/// The first octet of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u8);

impl Tag {
    pub(super) const BOOLEAN: Self = Self(0x01);
    pub(super) const INTEGER: Self = Self(0x02);
    pub(super) const BIT_STRING: Self = Self(0x03);
    pub(super) const OCTET_STRING: Self = Self(0x04);
    pub(super) const OBJECT_IDENTIFIER: Self = Self(0x06);
    pub(super) const ENUMERATED: Self = Self(0x0a);
    pub(super) const UTC_TIME: Self = Self(0x17);
    pub(super) const GENERALIZED_TIME: Self = Self(0x18);
    pub(super) const SEQUENCE: Self = Self(0x30);
    pub(super) const SET: Self = Self(0x31);

    /// `[number]` around other elements.
    pub(super) const fn context(number: u8) -> Self {
        Self(0xa0 | number)
    }

    /// `[number]` in place of a primitive tag.
    pub(super) const fn primitive_context(number: u8) -> Self {
        Self(0x80 | number)
    }
}

/// Elements one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(der: &'a [u8]) -> Self {
        Self(der)
    }

    /// The inside of the one element that the bytes are.
    pub(super) fn whole(der: &'a [u8], tag: Tag) -> Option<Self> {
        let mut reader = Self(der);
        let inside = reader.take(tag)?;
        reader.is_empty().then_some(Self(inside))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The content of the next element, if it has this tag; else nothing is taken.
    pub(super) fn take(&mut self, tag: Tag) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let content = ahead.next().filter(|(found, _)| *found == tag)?.1;
        *self = ahead;
        Some(content)
    }

    /// The next element with its tag and length, if it has this tag.
    pub(super) fn take_whole(&mut self, tag: Tag) -> Option<&'a [u8]> {
        let before = self.0;
        self.take(tag)?;
        before.get(..before.len() - self.0.len())
    }

    /// The next element: its tag and its content.
    pub(super) fn next(&mut self) -> Option<(Tag, &'a [u8])> {
        /// Tags of more than one octet, which certificates do not have.
        const LONG_TAG: u8 = 0x1f;
        let (tag, rest) = self.0.split_first()?;
        let (length, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(length)?;
        if tag & LONG_TAG == LONG_TAG {
            return None;
        }
        self.0 = rest;
        Some((Tag(*tag), content))
    }
}

/// A length in its shortest form, and what follows it.
fn length(der: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = der.split_first()?;
    if *first < 0x80 {
        return Some((usize::from(*first), rest));
    }
    let count = usize::from(first & 0x7f);
    let (digits, rest) = rest.split_at_checked(count)?;
    let is_shortest = digits.first().is_some_and(|first| if count == 1 { *first >= 0x80 } else { *first != 0 });
    if !is_shortest || count > 4 {
        return None;
    }
    let length = digits.iter().fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
    Some((length, rest))
}
