//! Finds the pseudo-header fields of a header block without decoding it (RFC 7541 §6), because the library that decodes it drops some of them
//! silently. The scan follows representations and skips strings; of the dynamic table it keeps only which entries are pseudo-header fields.

/// Entries of the static table with pseudo-header fields of requests, and with `:status` (RFC 7541 appendix A).
const OF_REQUESTS: std::ops::RangeInclusive<u64> = 1..=7;
const STATUS: std::ops::RangeInclusive<u64> = 8..=14;
/// The first index of the dynamic table.
const DYNAMIC: u64 = 62;
/// `:status` as a plain string, and in the Huffman code (RFC 7541 appendix B).
const STATUS_NAME: &[u8] = b":status";
const STATUS_CODED: &[u8] = &[0xb8, 0x84, 0x8d, 0x36, 0xa3];
/// The seven bits of `:` in the Huffman code.
const COLON_CODED: u8 = 0x5c;

/// The kinds of pseudo-header fields that a block has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PseudoFields {
    /// `:status`.
    pub status: bool,
    /// Any other name that begins with `:`.
    pub other: bool,
}

/// Scans all header blocks of one direction of a connection, in order and in pieces of any size.
#[derive(Debug, Default)]
pub struct BlockScan {
    step: Step,
    kind: Kind,
    /// The integer that is being read, and the position of its next bits.
    number: u64,
    shift: u32,
    /// Whether the string that is being read is in the Huffman code.
    coded: bool,
    /// Octets of the string that are not read yet.
    left: u64,
    /// The beginning of a name.
    name: [u8; STATUS_NAME.len() + 1],
    name_length: usize,
    /// The class of the field that is being read.
    field: Class,
    /// Which entries of the dynamic table are pseudo-header fields; the lowest bit is the newest entry. An entry takes more than 32 octets of
    /// the table's 4,096, so there are fewer entries than bits. Evicted entries need no handling: the library rejects references to them.
    statuses: u128,
    others: u128,
    found: PseudoFields,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    #[default]
    Field,
    Index,
    NameLength,
    NameLengthMore,
    Name,
    ValueLength,
    ValueLengthMore,
    Value,
}

/// The representation of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Indexed,
    /// A literal that is added to the dynamic table.
    Added,
    /// A literal that is not added.
    Plain,
    /// Not a field: an update of the table size.
    Size,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Class {
    #[default]
    Regular,
    Status,
    Other,
}

impl BlockScan {
    /// Begins a block.
    pub fn begin(&mut self) {
        (self.step, self.found) = (Step::Field, PseudoFields::default());
    }

    /// Scans a part of the block.
    pub fn take(&mut self, mut octets: &[u8]) {
        while let Some((octet, rest)) = octets.split_first() {
            match self.step {
                // Most fields are one octet, an index.
                Step::Field if (0x80..=0xfe).contains(octet) => {
                    self.field = self.class_of(u64::from(octet & 0x7f));
                    self.kind = Kind::Indexed;
                    self.end_field();
                }
                Step::Field => self.begin_field(*octet),
                Step::Index => self.more(*octet, Self::end_index),
                Step::NameLength | Step::ValueLength => self.begin_length(*octet),
                Step::NameLengthMore => self.more(*octet, Self::end_name_length),
                Step::ValueLengthMore => self.more(*octet, Self::end_value_length),
                Step::Name | Step::Value => {
                    octets = self.skip(octets);
                    continue;
                }
            }
            octets = rest;
        }
    }

    /// Ends the block; returns what was found.
    pub fn end(&mut self) -> PseudoFields {
        std::mem::take(&mut self.found)
    }

    fn begin_field(&mut self, octet: u8) {
        let (kind, bits) = match octet {
            0x80.. => (Kind::Indexed, 7),
            0x40.. => (Kind::Added, 6),
            0x20.. => (Kind::Size, 5),
            _ => (Kind::Plain, 4),
        };
        self.kind = kind;
        self.integer(octet, bits, Step::Index, Self::end_index);
    }

    fn begin_length(&mut self, octet: u8) {
        self.coded = octet & 0x80 != 0;
        if self.step == Step::NameLength {
            self.integer(octet, 7, Step::NameLengthMore, Self::end_name_length);
        } else {
            self.integer(octet, 7, Step::ValueLengthMore, Self::end_value_length);
        }
    }

    /// Begins an integer with a prefix of `bits` bits (RFC 7541 §5.1).
    fn integer(&mut self, octet: u8, bits: u32, more: Step, end: fn(&mut Self)) {
        let most = u64::from(u8::MAX >> (8 - bits));
        (self.number, self.shift) = (u64::from(octet) & most, 0);
        if self.number == most { self.step = more } else { end(self) }
    }

    fn more(&mut self, octet: u8, end: fn(&mut Self)) {
        // The library rejects longer integers.
        if self.shift < 56 {
            self.number += u64::from(octet & 0x7f) << self.shift;
            self.shift += 7;
        }
        if octet & 0x80 == 0 {
            end(self);
        }
    }

    fn end_index(&mut self) {
        if self.kind == Kind::Size {
            self.step = Step::Field;
            return;
        }
        self.field = self.class_of(self.number);
        match (self.kind, self.number) {
            (Kind::Indexed, _) => self.end_field(),
            (_, 0) => self.step = Step::NameLength,
            (_, _) => self.step = Step::ValueLength,
        }
    }

    fn class_of(&self, index: u64) -> Class {
        if index < DYNAMIC {
            return match index {
                index if OF_REQUESTS.contains(&index) => Class::Other,
                index if STATUS.contains(&index) => Class::Status,
                _ => Class::Regular,
            };
        }
        let at = u32::try_from(index - DYNAMIC).unwrap_or(u32::MAX);
        let bit = |entries: u128| entries.checked_shr(at).is_some_and(|bits| bits & 1 == 1);
        match () {
            () if bit(self.others) => Class::Other,
            () if bit(self.statuses) => Class::Status,
            () => Class::Regular,
        }
    }

    fn end_name_length(&mut self) {
        (self.left, self.name_length) = (self.number, 0);
        if self.left == 0 { self.end_name() } else { self.step = Step::Name }
    }

    fn end_value_length(&mut self) {
        self.left = self.number;
        if self.left == 0 { self.end_field() } else { self.step = Step::Value }
    }

    /// Consumes octets of a string; returns the rest.
    fn skip<'a>(&mut self, octets: &'a [u8]) -> &'a [u8] {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(octets.len());
        let (string, rest) = octets.split_at(count);
        self.left -= count as u64;
        if self.step == Step::Name {
            for (place, octet) in self.name.iter_mut().skip(self.name_length).zip(string) {
                *place = *octet;
            }
            self.name_length = self.name_length.saturating_add(count);
        }
        match (self.left, self.step) {
            (0, Step::Name) => self.end_name(),
            (0, _) => self.end_field(),
            _ => {}
        }
        rest
    }

    fn end_name(&mut self) {
        let name = self.name.get(..self.name_length.min(self.name.len())).unwrap_or_default();
        let (status, is_pseudo) = if self.coded {
            (STATUS_CODED, name.first().is_some_and(|first| first >> 1 == COLON_CODED))
        } else {
            (STATUS_NAME, name.first() == Some(&b':'))
        };
        self.field = match is_pseudo {
            true if name == status => Class::Status,
            true => Class::Other,
            false => Class::Regular,
        };
        self.step = Step::ValueLength;
    }

    fn end_field(&mut self) {
        match self.field {
            Class::Status => self.found.status = true,
            Class::Other => self.found.other = true,
            Class::Regular => {}
        }
        if self.kind == Kind::Added {
            self.statuses = self.statuses << 1 | u128::from(self.field == Class::Status);
            self.others = self.others << 1 | u128::from(self.field == Class::Other);
        }
        self.step = Step::Field;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of scanning blocks of one connection, whole and in pieces.
    fn found(blocks: &[&[u8]]) -> Vec<(bool, bool)> {
        let read = |size: usize| {
            let mut scan = BlockScan::default();
            let one = |block: &&[u8]| {
                scan.begin();
                block.chunks(size).for_each(|piece| scan.take(piece));
                let PseudoFields { status, other } = scan.end();
                (status, other)
            };
            blocks.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(read(1), read(1000));
        assert_eq!(read(3), read(1000));
        read(1)
    }

    #[test]
    fn rfc_7541_c_6_responses_have_a_status_whatever_the_table_holds() {
        // The three responses of appendix C.6, whose table evicts entries; then one that refers to `:status: 307`.
        let first = b"\x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b\x61\x96\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff\x6e\x91\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3";
        assert_eq!(
            found(&[first, b"\x48\x83\x64\x0e\xff\xc1\xc0\xbf", b"\xc0", b"\xbe"]),
            [(true, false), (true, false), (false, false), (true, false)]
        );
    }

    #[test]
    fn every_way_to_write_a_pseudo_header_field_is_found() {
        let status: [&[u8]; 7] = [
            b"\x88",
            b"\x8e",
            b"\x08\x03200",
            b"\x18\x03200",
            b"\x48\x03200",
            b"\x00\x07:status\x03200",
            b"\x00\x85\xb8\x84\x8d\x36\xa3\x03200",
        ];
        for block in status {
            assert_eq!(found(&[block]), [(true, false)], "{block:x?}");
            // After a table size update, and another field whose value looks like one.
            let behind = [&b"\x3f\xe1\x1f\x00\x01x\x02\x88\x84"[..], block].concat();
            assert_eq!(found(&[&behind]), [(true, false)], "{block:x?}");
        }
        let other: [&[u8]; 6] = [
            b"\x84",
            b"\x01\x01a",
            b"\x44\x02/x",
            b"\x00\x05:path\x01/",
            b"\x00\x84\xb9\x58\xd3\x3f\x01/",
            b"\x40\x03:st\x01/",
        ];
        for block in other {
            assert_eq!(found(&[block]), [(false, true)], "{block:x?}");
        }
        let neither: [&[u8]; 4] = [b"", b"\x0f\x2f\x01a", b"\x00\x01s\x07:status", b"\xbf"];
        for block in neither {
            assert_eq!(found(&[block]), [(false, false)], "{block:x?}");
        }
    }

    #[test]
    fn entries_of_the_dynamic_table_are_found_by_their_age() {
        let mut blocks: Vec<&[u8]> = vec![b"\x48\x03418"];
        blocks.resize(100, b"\x40\x01x\x01y");
        // Ninety-nine entries are newer.
        let at_99 = [0xff, (62 + 99 - 127) as u8];
        let at_98 = [0xff, (62 + 98 - 127) as u8];
        blocks.extend([&at_99[..], &at_98[..]]);
        let found = found(&blocks);
        assert_eq!(found.iter().filter(|one| one.0).count(), 2);
        assert_eq!(found[100..], [(true, false), (false, false)]);
    }
}
